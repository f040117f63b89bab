/** The attempts of a record that was started and is not finished. */
export interface AttemptHistory {
  /** Attempts that were started. */
  readonly count: number
  readonly settledHandlers: readonly string[]
}

/** A group's progress in a partition beyond the committed offset. It is stored in the commit's metadata. */
export interface PartitionProgress {
  /**
   * The committing member may have started records below this offset. The committed offset itself after a clean stop.
   */
  readonly openUpTo: number
  /** Finished records, as ascending ranges: `from` is included, `to` is excluded. */
  readonly finished: readonly (readonly [from: number, to: number])[]
  readonly attempts: ReadonlyMap<number, AttemptHistory>
  /** The topic whose offsets these are: one that was deleted and recreated has another id. */
  readonly topicId?: string
}

/** Bytes of metadata at most. The broker's default limit is 4,096. */
export const METADATA_BYTES = 4000

/** Bytes of the field with the topic's id, without the id. */
const TOPIC_FIELD = 7

/** The JSON in the metadata. */
interface StoredProgress {
  v: 1
  /** The topic's id. */
  t?: string
  /** Length of the range that may have been started. */
  o?: number
  /** Per record: offset relative to the committed one, attempts, handlers that have succeeded. */
  a?: (readonly [number, number, ...string[]])[]
  /** Lengths of unfinished and finished ranges, alternating. */
  d?: number[]
}

/** Encodes progress in at most `limit` bytes. It omits what does not fit; at worst that is handled again. */
export function writeProgress(
  offset: number,
  { openUpTo, finished, attempts, topicId }: PartitionProgress,
  limit: number = METADATA_BYTES,
): string {
  const written: StoredProgress = { v: 1 }
  let room = limit - 40
  if (topicId !== undefined && topicId.length + TOPIC_FIELD <= room) {
    written.t = topicId
    room -= topicId.length + TOPIC_FIELD
  }
  if (openUpTo > offset) written.o = openUpTo - offset
  const notes: (readonly [number, number, ...string[]])[] = []
  for (const [at, { count, settledHandlers }] of attempts) {
    const full = [at - offset, count, ...settledHandlers] as const
    const bare = [at - offset, count] as const
    const note = [full, bare].find((candidate) => sizeOf(candidate) <= room)
    if (note === undefined) break
    notes.push(note)
    room -= sizeOf(note)
  }
  if (notes.length > 0) written.a = notes
  const lengths = rangeLengths(offset, finished, room)
  if (lengths.length > 0) written.d = lengths
  return Object.keys(written).length === 1 ? '' : JSON.stringify(written)
}

/** Decodes the text that {@link writeProgress} wrote. Any other text is no progress. */
export function readProgress(offset: number, metadata: string | null): PartitionProgress {
  const none = { openUpTo: offset, finished: [], attempts: new Map<number, AttemptHistory>() }
  if (metadata === null || !metadata.startsWith('{"v":1')) return none
  try {
    const parsed: unknown = JSON.parse(metadata)
    if (typeof parsed !== 'object' || parsed === null) return none
    const fields = new Map<string, unknown>(Object.entries(parsed))
    const topicId = fields.get('t')
    return {
      openUpTo: offset + (count(fields.get('o')) ?? 0),
      finished: readRanges(offset, fields.get('d')),
      attempts: readNotes(offset, fields.get('a')),
      ...(typeof topicId === 'string' && { topicId }),
    }
  } catch {
    // Other clients may commit arbitrary metadata.
    return none
  }
}

function rangeLengths(offset: number, finished: PartitionProgress['finished'], room: number): number[] {
  const lengths: number[] = []
  let at = offset
  let left = room
  for (const [from, to] of finished) {
    left -= String(from - at).length + String(to - from).length + 2
    if (left < 0) break
    lengths.push(from - at, to - from)
    at = to
  }
  return lengths
}

function readRanges(offset: number, value: unknown): (readonly [number, number])[] {
  const lengths = Array.isArray(value) ? value : []
  const ranges: (readonly [number, number])[] = []
  let at = offset
  for (let index = 0; index + 1 < lengths.length; index += 2) {
    const gap = count(lengths[index])
    const length = count(lengths[index + 1])
    if (gap === undefined || length === undefined) break
    ranges.push([at + gap, at + gap + length])
    at += gap + length
  }
  return ranges
}

function readNotes(offset: number, value: unknown): Map<number, AttemptHistory> {
  const notes = new Map<number, AttemptHistory>()
  for (const item of Array.isArray(value) ? value : []) {
    const [delta, attempts, ...names]: unknown[] = Array.isArray(item) ? item : []
    const at = count(delta)
    const started = count(attempts)
    if (at === undefined || started === undefined) continue
    const settledHandlers = names.filter((name) => typeof name === 'string')
    notes.set(offset + at, { count: started, settledHandlers })
  }
  return notes
}

function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}

function sizeOf(note: readonly unknown[]): number {
  return Buffer.byteLength(JSON.stringify(note)) + 1
}
