/** A message that waits in the order of its aggregate, or the place of a dead letter in that order. */
export interface LineEntry {
  /** Identifies the wait. It stays the same while the message waits several times. */
  readonly id: string
  /** The record in the queue that holds it. */
  readonly record: string
  /** The handler and the aggregate. */
  readonly line: string
  /** Messages of a line follow each other in the order of these numbers. */
  readonly place: number
  /** In milliseconds since 1970. */
  readonly dueAt: number
  /** Since when it waits, in milliseconds since 1970. */
  readonly since: number
  readonly isParked: boolean
}

/** A note that the first entry of a line was published to the group. */
interface ReleaseNote {
  readonly record: string
  /** The record of the entry that was published. */
  readonly of: string
}

/**
 * After this time, in milliseconds, a message that was published and not handled is published again. It may have been
 * removed from the queue of the group, or handled by an earlier release, which knows no lines.
 */
const MAX_RELEASED_MS = 600_000

/** Identifies the messages of one handler that keep the order of an aggregate. */
export function lineOf(handlerName: string, key: string): string {
  return JSON.stringify([handlerName, key])
}

/** The lines of one partition: what its queue of waiting messages holds, in the order in which the records arrived. */
export class RabbitMQLineIndex {
  readonly #entries = new Map<string, LineEntry>()
  /** Sorted by place. */
  readonly #lines = new Map<string, readonly LineEntry[]>()
  readonly #notes = new Map<string, ReleaseNote>()
  /** When entries were published to the group, by their records and by the monotonic clock. */
  readonly #released = new Map<string, number>()
  readonly #maxReleasedMs: number
  #lastPlace = 0

  constructor(maxReleasedMs = MAX_RELEASED_MS) {
    this.#maxReleasedMs = maxReleasedMs
  }

  /** Number of messages that wait: those that are neither published to the group nor dead letters. */
  get waiting(): number {
    let count = 0
    for (const { record, isParked } of this.#entries.values()) {
      if (!isParked && !this.#released.has(record)) count += 1
    }
    return count
  }

  /** The earliest time since when one of these messages waits; Infinity if there is none. */
  oldestSince(): number {
    let oldest = Number.POSITIVE_INFINITY
    for (const { record, isParked, since } of this.#entries.values())
      if (!isParked && !this.#released.has(record) && since < oldest) oldest = since
    return oldest
  }

  get(id: string): LineEntry | undefined {
    return this.#entries.get(id)
  }

  line(line: string): readonly LineEntry[] {
    return this.#lines.get(line) ?? []
  }

  /** A place behind all others. */
  nextPlace(): number {
    // Larger than those of an earlier owner whose records are gone.
    this.#lastPlace = Math.max(this.#lastPlace + 1, Date.now() * 1000)
    return this.#lastPlace
  }

  /** Adds an entry, or replaces an earlier one of the same wait. @returns the records that are no longer needed. */
  set(entry: LineEntry): readonly string[] {
    const former = this.#remove(entry.id)
    this.#entries.set(entry.id, entry)
    this.#lastPlace = Math.max(this.#lastPlace, entry.place)
    const entries = this.line(entry.line)
    const at = entries.findLastIndex(({ place }) => place <= entry.place) + 1
    this.#lines.set(entry.line, entries.toSpliced(at, 0, entry))
    return former
  }

  /** Removes an entry. The next one of its line is the first then. @returns the records that are no longer needed. */
  end(id: string): readonly string[] {
    return this.#remove(id)
  }

  /** Notes that the entry is published to the group, until it is replaced. */
  release(entry: LineEntry): void {
    this.#released.set(entry.record, performance.now())
  }

  undoRelease(entry: LineEntry): void {
    this.#released.delete(entry.record)
  }

  /** @returns the records that are no longer needed: that of a note which came late, and former notes. */
  note(id: string, note: ReleaseNote): readonly string[] {
    if (this.#entries.get(id)?.record !== note.of) return [note.record]
    const former = this.#notes.get(id)
    this.#notes.set(id, note)
    this.#released.set(note.of, performance.now())
    return former === undefined ? [] : [former.record]
  }

  /** The published messages are lost with the queue of the group. @returns the records that are no longer needed. */
  undoReleases(): readonly string[] {
    const records = [...this.#notes.values()].map(({ record }) => record)
    this.#notes.clear()
    this.#released.clear()
    return records
  }

  /** The entries that may be published to the group now, in the order in which they became due. */
  due(now: number): readonly LineEntry[] {
    return this.#first()
      .filter(({ dueAt }) => dueAt <= now)
      .toSorted((a, b) => a.dueAt - b.dueAt)
  }

  /** When the next entry is due; Infinity if none is. */
  nextDueAt(): number {
    return this.#first().reduce((next, { dueAt }) => Math.min(next, dueAt), Number.POSITIVE_INFINITY)
  }

  /** The dead letters that are the first of their lines, without those that were replayed. */
  firstParked(): readonly LineEntry[] {
    return [...this.#lines.values()].flatMap(([first]) =>
      first?.isParked && !this.#released.has(first.record) ? [first] : [],
    )
  }

  #first(): readonly LineEntry[] {
    return [...this.#lines.values()].flatMap(([first]) =>
      first === undefined || first.isParked || this.#isReleased(first) ? [] : [first],
    )
  }

  #isReleased({ record }: LineEntry): boolean {
    const at = this.#released.get(record)
    return at !== undefined && performance.now() - at < this.#maxReleasedMs
  }

  #remove(id: string): readonly string[] {
    const entry = this.#entries.get(id)
    if (entry === undefined) return []
    const note = this.#notes.get(id)
    this.#entries.delete(id)
    this.#notes.delete(id)
    this.#released.delete(entry.record)
    const rest = this.line(entry.line).filter((other) => other !== entry)
    if (rest.length === 0) this.#lines.delete(entry.line)
    else this.#lines.set(entry.line, rest)
    return note === undefined ? [entry.record] : [entry.record, note.record]
  }
}
