import type { ConsumedStream } from '../client/consumed-stream.ts'
import type { HeldEntry } from './held-entry.ts'

/** Beyond this number the oldest entry is forgotten, and handled again if this consumer takes it over. */
const LIMIT = 10_000

/**
 * Entries that this consumer finished and could not acknowledge, because it had lost their partition. If it takes over such
 * an entry before another consumer has settled it, it acknowledges the entry and does not handle it again.
 */
export class FinishedEntries {
  readonly #keys = new Set<string>()

  add({ stream, entryId }: HeldEntry): void {
    this.#keys.add(keyOf(stream, entryId))
    if (this.#keys.size <= LIMIT) return
    const [oldest] = this.#keys
    if (oldest !== undefined) this.#keys.delete(oldest)
  }

  /** Removes an entry. @returns true if it was there. */
  take({ stream, entryId }: HeldEntry): boolean {
    return this.#keys.size > 0 && this.#keys.delete(keyOf(stream, entryId))
  }

  /** Forgets entries that the server assigned as new: the group was reset, and is to handle them again. */
  assignedAsNew(stream: ConsumedStream, entryIds: Iterable<string>): void {
    if (this.#keys.size === 0) return
    for (const id of entryIds) this.#keys.delete(keyOf(stream, id))
  }
}

function keyOf({ key }: ConsumedStream, entryId: string): string {
  return `${key} ${entryId}`
}
