import type { ConsumedStream } from '../client/consumed-stream.ts'
import { readMessageWithin, type StreamEntry } from '../wire/entry.ts'
import { type EntryEnd, type EntryOwner, HeldEntry } from './held-entry.ts'

/** An entry that the server assigned to this consumer, by a read or by a claim. */
export interface OwnedEntry {
  readonly entry: StreamEntry
  /** Attempts that started, or may have started. */
  readonly attemptsStarted: number
  /** Handlers that had succeeded before. */
  readonly settledHandlers: readonly string[]
  /** When the lease started, by `performance.now()`: never later than the assignment on the server. */
  readonly leasedAt: number
}

/**
 * The entries that this consumer owns and has not settled. An entry stays until the server has confirmed its
 * acknowledgment, because a crash before that repeats it.
 */
export class HeldEntries implements Iterable<HeldEntry> {
  readonly #owner: EntryOwner
  readonly #maxEntryBytes: number
  readonly #byKey = new Map<string, HeldEntry>()
  #dropped: PromiseWithResolvers<void> | undefined

  constructor(owner: EntryOwner, maxEntryBytes: number) {
    this.#owner = owner
    this.#maxEntryBytes = maxEntryBytes
  }

  get size(): number {
    return this.#byKey.size
  }

  [Symbol.iterator](): Iterator<HeldEntry> {
    return this.#byKey.values()
  }

  has(stream: ConsumedStream, id: string): boolean {
    return this.#byKey.has(keyOf(stream, id))
  }

  /**
   * Adds an entry, whose lease is renewed from then on.
   * @returns undefined if the entry is held already: a recreated group delivers it a second time.
   */
  hold(stream: ConsumedStream, owned: OwnedEntry): HeldEntry | undefined {
    const { entry, attemptsStarted, settledHandlers, leasedAt } = owned
    const key = keyOf(stream, entry.id)
    if (this.#byKey.has(key)) return undefined
    const message = readMessageWithin(entry, this.#maxEntryBytes)
    const held = new HeldEntry(this.#owner, { message, stream, attemptsStarted, settledHandlers, leasedAt })
    this.#byKey.set(key, held)
    return held
  }

  /** Gives a held entry the message that was read after it was held. */
  complete(held: HeldEntry, entry: StreamEntry): void {
    held.message = readMessageWithin(entry, this.#maxEntryBytes)
  }

  /** Replaces an entry whose delivery was refused. @returns the new delivery of the same entry. */
  replace(refused: HeldEntry): HeldEntry {
    const { message, stream, attemptsStarted, settledSoFar: settledHandlers, leasedAt } = refused
    const held = new HeldEntry(this.#owner, { message, stream, attemptsStarted, settledHandlers, leasedAt })
    held.onEnd = refused.onEnd
    this.#byKey.set(keyOf(stream, message.id), held)
    return held
  }

  drop(entry: HeldEntry, end: EntryEnd): void {
    this.#byKey.delete(keyOf(entry.stream, entry.message.id))
    this.#dropped?.resolve()
    this.#dropped = undefined
    entry.onEnd?.(end)
  }

  /** Resolves when the next entry is dropped. */
  whenDropped(): Promise<void> {
    this.#dropped ??= Promise.withResolvers()
    return this.#dropped.promise
  }
}

/** The two streams may use the same id. */
function keyOf(stream: ConsumedStream, id: string): string {
  return stream.deletesSettled ? `replay ${id}` : id
}
