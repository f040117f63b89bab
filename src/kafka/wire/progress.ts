/** What is known of a record that was begun and is not finished. */
export interface AttemptHistory {
  /** Attempts that began. */
  readonly count: number
  readonly settledHandlers: readonly string[]
}

/** What a group has done of a partition past its committed offset. It travels in the commit's metadata. */
export interface PartitionProgress {
  /** Records below this offset may have been begun by whoever committed this; the offset itself after a clean end. */
  readonly openUpTo: number
  /** Finished records, as ranges from (included) to (excluded), in their order. */
  readonly finished: readonly (readonly [from: number, to: number])[]
  readonly attempts: ReadonlyMap<number, AttemptHistory>
}

/** The broker's default limit is 4,096 bytes. */
export const METADATA_BYTES = 4000

interface Written {
  v: 1
  /** Length of the open range. */
  o?: number
  /** Offset from the committed one, attempts, handlers that have succeeded. */
  a?: (readonly [number, number, ...string[]])[]
  /** Lengths of unfinished and finished ranges by turns. */
  d?: number[]
}

/** As text of limited size. What does not fit is forgotten, which at worst handles something again. */
export function writeProgress(
  offset: number,
  { openUpTo, finished, attempts }: PartitionProgress,
  limit: number = METADATA_BYTES,
): string {
  const written: Written = { v: 1 }
  if (openUpTo > offset) written.o = openUpTo - offset
  let room = limit - 40
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

/** Reads what {@link writeProgress} wrote; anything else is no progress. */
export function readProgress(offset: number, metadata: string | null): PartitionProgress {
  const none = { openUpTo: offset, finished: [], attempts: new Map<number, AttemptHistory>() }
  if (metadata === null || !metadata.startsWith('{"v":1')) return none
  try {
    const parsed: unknown = JSON.parse(metadata)
    if (typeof parsed !== 'object' || parsed === null) return none
    const fields = new Map<string, unknown>(Object.entries(parsed))
    return {
      openUpTo: offset + (count(fields.get('o')) ?? 0),
      finished: readRanges(offset, fields.get('d')),
      attempts: readNotes(offset, fields.get('a')),
    }
  } catch {
    // Anybody may commit with any metadata.
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
    const begun = count(attempts)
    if (at === undefined || begun === undefined) continue
    const settledHandlers = names.filter((name) => typeof name === 'string')
    notes.set(offset + at, { count: begun, settledHandlers })
  }
  return notes
}

function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}

function sizeOf(note: readonly unknown[]): number {
  return Buffer.byteLength(JSON.stringify(note)) + 1
}
