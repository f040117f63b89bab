import { AsyncLocalStorage } from 'node:async_hooks'
import { toError } from '../errors.ts'
import type { DomainEvent } from '../events/index.ts'
import type { EventHandler, HandlerContext } from '../handling/event-handler.ts'
import { idempotencyKeyOf } from '../handling/once.ts'
import { TransactionRun } from '../handling/transaction-run.ts'
import type { Logger } from '../observability/logger.ts'
import type { StoreTransaction } from './store-transaction.ts'

/** What a handler of an inbox receives in addition to the event. */
export interface InboxContext<Client = unknown> extends HandlerContext {
  /** The transaction that commits the handler's writes together with the record that it has handled the event. */
  readonly tx: StoreTransaction<Client>
  /**
   * The same for each attempt of this handler to handle this event. Pass it to systems outside of the transaction that recognize
   * a repeated request, for example a payment service.
   */
  readonly idempotencyKey: string
}

/** A handler whose effects are committed with the record of the event. */
export type InboxHandler<E extends DomainEvent, Client = unknown> = (
  event: E,
  context: InboxContext<Client>,
) => unknown

/** Records which handler has handled which event, so that the effects of each event are committed once. */
export interface Inbox<Client = unknown> {
  /**
   * Wraps a handler so that its writes in `tx` are committed once for each event, however often the event is delivered.
   * One transaction commits the handler's writes and the record that it has handled the event. A redelivery, a replay
   * or a second worker finds the record and does nothing. If two workers handle the event at once, the second waits for
   * the first and then does nothing. If the handler fails, its writes and the record are rolled back, and the next
   * attempt starts again.
   *
   * The transaction is open while the handler runs, so keep the handler short. Effects of the handler outside of `tx`
   * may occur more than once.
   *
   * @param name - identifies the handler. Records of another name are ignored, so do not change the name when the code
   * moves.
   * @returns a handler for a bus, or for a subscription.
   * @example
   * bus.subscribe(
   *   OrderPaid,
   *   stores.inbox.once('ship-order', async (event, { tx }) => {
   *     await tx.client.query('insert into shipments (order_id) values ($1)', [event.aggregateId])
   *   }),
   * )
   */
  once<E extends DomainEvent>(name: string, handler: InboxHandler<E, Client>): EventHandler<E>
  /** True if a handler has handled an event and its writes are committed. */
  has(handlerName: string, eventId: string): Promise<boolean>
  /**
   * Removes old records, in bounded batches. If an event is delivered again after its record was removed, it is handled
   * again.
   * @returns the number of removed records.
   */
  prune(notedBefore: Date): Promise<number>
}

/** Maximum number of records that one batch of {@link Inbox.prune} removes. */
export const PRUNE_BATCH = 1000

/** Default age at which records are removed, in milliseconds: 30 days. */
export const DEFAULT_INBOX_RETENTION_MS = 30 * 24 * 60 * 60 * 1000

/** Maximum time between two removals of old records, in milliseconds. */
const LONGEST_PRUNE_INTERVAL_MS = 60 * 60 * 1000

/** The record that a handler has handled an event. */
export interface InboxNote {
  readonly handlerName: string
  readonly eventId: string
}

/** Work in the transaction that adds a record. @param isNew - false if the record was already stored. */
export type RecordedWork<Client> = (tx: StoreTransaction<Client>, isNew: boolean) => Promise<void>

/** What an inbox needs of its stores. */
export interface TransactionalInboxParts<Client> {
  readonly transaction: <T>(work: (tx: StoreTransaction<Client>) => Promise<T>) => Promise<T>
  /**
   * Runs work in a transaction that first adds the record of an event. Its second argument is false if the record was
   * already stored. Default: `transaction`, and `inbox.add` in it.
   */
  readonly recording?: (note: InboxNote, work: RecordedWork<Client>) => Promise<void>
  readonly has: (handlerName: string, eventId: string) => Promise<boolean>
  /** Removes at most `PRUNE_BATCH` (1,000) records, in its own transaction. @returns the number of removed records. */
  readonly pruneSome: (notedBefore: Date) => Promise<number>
  /** Age at which records are removed, in milliseconds; Infinity for never. */
  readonly retentionMs: number
  readonly logger: Logger
}

/** The inbox of stores that have transactions. */
export class TransactionalInbox<Client> implements Inbox<Client> {
  readonly #parts: TransactionalInboxParts<Client>
  readonly #pruneIntervalMs: number
  #prunedAt = Number.NEGATIVE_INFINITY
  /** Runs a function outside of the transaction that the calling code belongs to. */
  readonly #outside = AsyncLocalStorage.snapshot()

  constructor(parts: TransactionalInboxParts<Client>) {
    this.#parts = parts
    this.#pruneIntervalMs = Math.min(LONGEST_PRUNE_INTERVAL_MS, parts.retentionMs / 10)
  }

  once<E extends DomainEvent>(name: string, handler: InboxHandler<E, Client>): EventHandler<E> {
    return {
      name,
      handle: (event: E, context: HandlerContext) => this.#handle(name, handler, event, context),
    }
  }

  has(handlerName: string, eventId: string): Promise<boolean> {
    return this.#parts.has(handlerName, eventId)
  }

  async prune(notedBefore: Date): Promise<number> {
    let all = 0
    for (;;) {
      const some = await this.#parts.pruneSome(notedBefore)
      all += some
      if (some < PRUNE_BATCH) return all
    }
  }

  async #handle<E extends DomainEvent>(
    name: string,
    handler: InboxHandler<E, Client>,
    event: E,
    context: HandlerContext,
  ): Promise<void> {
    await this.#recording({ handlerName: name, eventId: event.eventId }, async (tx, isNew) => {
      if (!isNew) return
      context.signal.throwIfAborted()
      await handler(event, new TransactionRun(context, tx, idempotencyKeyOf(name, event)))
      // The attempt has already failed and will be repeated, so its writes must be rolled back.
      context.signal.throwIfAborted()
    })
    this.pruneInTime()
  }

  #recording(note: InboxNote, work: RecordedWork<Client>): Promise<void> {
    const { transaction, recording } = this.#parts
    if (recording !== undefined) return recording(note, work)
    return transaction(async (tx) => work(tx, await tx.inbox.add(note.handlerName, note.eventId)))
  }

  /** Removes old records if the last removal was long enough ago. @internal */
  pruneInTime(): void {
    const { retentionMs, logger } = this.#parts
    const now = performance.now()
    if (retentionMs === Number.POSITIVE_INFINITY || now - this.#prunedAt < this.#pruneIntervalMs) return
    this.#prunedAt = now
    // An inline projection calls this in the transaction of the append. The removal waits for it, and nothing for the removal.
    this.#outside(() => this.prune(new Date(Date.now() - retentionMs))).catch((thrown: unknown) => {
      logger.warn('removing old inbox records failed', { error: toError(thrown) })
    })
  }
}
