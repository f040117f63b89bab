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
  /** By the id of the entry, for each of the streams, whose entries may have the same id. */
  readonly #byStream = new Map<string, Map<string, HeldEntry>>()
  /** The entries of the stream that was used last. */
  #last: { readonly stream: string; readonly entries: Map<string, HeldEntry> } | undefined
  #size = 0
  #dropped: PromiseWithResolvers<void> | undefined

  constructor(owner: EntryOwner, maxEntryBytes: number) {
    this.#owner = owner
    this.#maxEntryBytes = maxEntryBytes
  }

  get size(): number {
    return this.#size
  }

  *[Symbol.iterator](): Iterator<HeldEntry> {
    for (const entries of this.#byStream.values()) yield* entries.values()
  }

  has(stream: ConsumedStream, id: string): boolean {
    return this.#of(stream).has(id)
  }

  /**
   * Adds an entry, whose lease is renewed from then on.
   * @returns undefined if the entry is held already, because a recreated group delivers it a second time, or if its lease
   * was lost meanwhile.
   */
  hold(stream: ConsumedStream, owned: OwnedEntry): HeldEntry | undefined {
    const { entry, lease, attemptsStarted, settledHandlers, leasedAt } = owned
    const entries = this.#of(stream)
    if (entries.has(entry.id) || lease?.state === 'lost') return undefined
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
    entries.set(entry.id, held)
    this.#size += 1
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
    const entries = this.#of(stream)
    if (!entries.has(entryId)) this.#size += 1
    entries.set(entryId, held)
    return held
  }

  drop(entry: HeldEntry, end: EntryEnd): void {
    const entries = this.#of(entry.stream)
    // An entry that was dropped before may be held again, under a later lease.
    if (entries.get(entry.entryId) !== entry) return
    entries.delete(entry.entryId)
    this.#size -= 1
    this.#dropped?.resolve()
    this.#dropped = undefined
    entry.onEnd?.(end)
  }

  /** Resolves when the next entry is dropped. */
  whenDropped(): Promise<void> {
    this.#dropped ??= Promise.withResolvers()
    return this.#dropped.promise
  }

  #of({ key }: ConsumedStream): Map<string, HeldEntry> {
    if (this.#last?.stream === key) return this.#last.entries
    const entries = this.#byStream.get(key) ?? new Map<string, HeldEntry>()
    this.#byStream.set(key, entries)
    this.#last = { stream: key, entries }
    return entries
  }

  #read(stream: ConsumedStream, entry: StreamEntry): IncomingMessage {
    return readMessageWithin(entry, this.#maxEntryBytes, messageIdOf(stream, entry.id))
  }
}

/** The id of the message in an entry. The ids of entries in two partitions may be the same. */
export function messageIdOf({ partition, isOnly }: ConsumedStream, entryId: string): string {
  return isOnly ? entryId : `${partition}:${entryId}`
}
