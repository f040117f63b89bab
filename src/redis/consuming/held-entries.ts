import type { IncomingMessage } from '../../transport/transport.ts'
import type { ConsumedStream, StreamLease } from '../client/consumed-stream.ts'
import { readMessageWithin, type StreamEntry } from '../wire/entry.ts'
import { type EntryEnd, type EntryOwner, HeldEntry } from './held-entry.ts'

/** An entry that the server assigned to this consumer, by a read or by a claim. */
export interface OwnedEntry {
  readonly entry: StreamEntry
  /** The lease of the partition under which it was assigned, if the group has leases. */
  readonly lease: StreamLease | undefined
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
   * @returns undefined if the entry is held already, because a recreated group delivers it a second time, or if its lease
   * was lost meanwhile.
   */
  hold(stream: ConsumedStream, owned: OwnedEntry): HeldEntry | undefined {
    const { entry, lease, attemptsStarted, settledHandlers, leasedAt } = owned
    const key = keyOf(stream, entry.id)
    if (this.#byKey.has(key) || lease?.state === 'lost') return undefined
    const message = this.#read(stream, entry)
    const held = new HeldEntry(this.#owner, {
      entryId: entry.id,
      message,
      stream,
      lease,
      attemptsStarted,
      settledHandlers,
      leasedAt,
    })
    this.#byKey.set(key, held)
    return held
  }

  /** Gives a held entry the message that was read after it was held. */
  complete(held: HeldEntry, entry: StreamEntry): void {
    held.message = this.#read(held.stream, entry)
  }

  /** Replaces an entry whose delivery was refused. @returns the new delivery of the same entry. */
  replace(refused: HeldEntry): HeldEntry {
    const {
      entryId,
      message,
      stream,
      lease,
      attemptsStarted,
      settledSoFar: settledHandlers,
      leasedAt,
    } = refused
    const held = new HeldEntry(this.#owner, {
      entryId,
      message,
      stream,
      lease,
      attemptsStarted,
      settledHandlers,
      leasedAt,
    })
    held.onEnd = refused.onEnd
    this.#byKey.set(keyOf(stream, entryId), held)
    return held
  }

  drop(entry: HeldEntry, end: EntryEnd): void {
    const key = keyOf(entry.stream, entry.entryId)
    // An entry that was dropped before may be held again, under a later lease.
    if (this.#byKey.get(key) !== entry) return
    this.#byKey.delete(key)
    this.#dropped?.resolve()
    this.#dropped = undefined
    entry.onEnd?.(end)
  }

  /** Resolves when the next entry is dropped. */
  whenDropped(): Promise<void> {
    this.#dropped ??= Promise.withResolvers()
    return this.#dropped.promise
  }

  #read(stream: ConsumedStream, entry: StreamEntry): IncomingMessage {
    const message = readMessageWithin(entry, this.#maxEntryBytes)
    return stream.isOnly ? message : { ...message, id: messageIdOf(stream, entry.id) }
  }
}

/** The id of the message in an entry. The ids of entries in two partitions may be the same. */
export function messageIdOf({ partition, isOnly }: ConsumedStream, entryId: string): string {
  return isOnly ? entryId : `${partition}:${entryId}`
}

/** The streams may use the same id. */
function keyOf({ deletesSettled, partition }: ConsumedStream, id: string): string {
  return deletesSettled ? `replay ${partition} ${id}` : `${partition} ${id}`
}
