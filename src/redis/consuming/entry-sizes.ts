import { type StreamEntry, sizeOf } from '../wire/entry.ts'

/** Estimated size of an entry before the first one has arrived. */
const FIRST_ENTRY_BYTES = 512 * 1024
/** What remains of the estimate with each page of smaller entries. */
const DECAY = 0.8

/** Estimates how many entries fit into a number of bytes, because Redis limits a read by their number only. */
export class EntrySizes {
  readonly #maxEntryBytes: number
  #entryBytes = FIRST_ENTRY_BYTES

  /** @param maxEntryBytes - the assumed size of an entry that was not read as a whole. */
  constructor(maxEntryBytes: number) {
    this.#maxEntryBytes = maxEntryBytes
  }

  /** How many of `count` entries to request, at least one unless `count` is 0. */
  fitting(count: number, bytes: number): number {
    return Math.min(count, Math.max(1, Math.floor(bytes / this.#entryBytes)))
  }

  /** A larger size counts at once, a smaller one gradually. @returns the size of the entries. */
  note(entries: readonly StreamEntry[]): number {
    const bytes = entries.reduce(
      (total, entry) => total + (entry.isPartial ? this.#maxEntryBytes : sizeOf(entry)),
      0,
    )
    if (entries.length > 0) {
      this.#entryBytes = Math.max(bytes / entries.length, this.#entryBytes * DECAY, 1)
    }
    return bytes
  }
}
