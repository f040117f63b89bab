import type { EventStore, SnapshotStore } from '../store/index.ts'
import type { ListedCheckpoints } from './checkpoint-store.ts'
import type { SubscriptionDeadLetterStore } from './dead-letter-store.ts'
import type { Inbox } from './inbox.ts'
import type { LeaseStore } from './lease-store.ts'
import type { Outbox } from './outbox.ts'
import type { StoreTransaction } from './store-transaction.ts'
import type { TransactionalProjection } from './transactional-projection.ts'
import type { TransactionalProjectionOptions } from './transactional-units.ts'

/**
 * All stores of a service: its events and snapshots, the checkpoints, leases and parked events of its subscriptions, and the inbox
 * and outbox for effects that happen once.
 * `describeStores` in `eventspine/testing` tests this contract.
 */
export interface Stores<Client = unknown> extends AsyncDisposable {
  readonly events: EventStore
  readonly snapshots: SnapshotStore
  readonly checkpoints: ListedCheckpoints
  readonly leases: LeaseStore
  readonly deadLetters: SubscriptionDeadLetterStore
  readonly inbox: Inbox<Client>
  readonly outbox: Outbox
  /**
   * Runs work in a transaction: commits if it returns or resolves, rolls back if it throws or rejects. Inside the work, use only `tx`; do not
   * use `tx` afterwards. Other readers see nothing before the commit, and listeners are called after it.
   *
   * @returns the result of the work.
   * @throws what the work throws; StoreOutcomeUnknownError if the response to the commit was lost.
   * @example
   * await stores.transaction(async (tx) => {
   *   await orders.within(tx).save(order)
   *   await tx.client.query('update accounts set balance = balance - $1', [order.total])
   * })
   */
  transaction<T>(work: (tx: StoreTransaction<Client>) => T | Promise<T>): Promise<T>
  /**
   * A projection whose handlers write in the transaction that also moves the checkpoint: each event has its effect exactly
   * once, whatever crashes. Pass it to the `subscribe` of a manager that has the `checkpoints` of these stores, and their
   * `deadLetters` if it has any.
   *
   * @example
   * const manager = new SubscriptionManager({ eventStore: stores.events, checkpoints: stores.checkpoints })
   * manager.subscribe(
   *   stores.projection({
   *     name: 'totals',
   *     handlers: [
   *       handlerFor(OrderPaid, async (event, { tx }) => {
   *         await tx.client.query('update totals set amount = amount + $1', [event.amount])
   *       }),
   *     ],
   *   }),
   * )
   */
  projection(options: TransactionalProjectionOptions<Client>): TransactionalProjection<Client>
  /** Resolves when the stores can be used: connected, with the schema of this release. @throws the reason if they cannot. */
  ready(): Promise<void>
  /** Waits for running calls, then closes all handles. Idempotent. */
  close(): Promise<void>
}

/** Stores in a database whose client the caller may also use. */
export interface DatabaseStores<Client> extends Stores<Client> {
  /**
   * Returns the stores inside a transaction that the caller has opened on its own client, and will commit or roll back.
   * Listeners in this process are called when the store detects the commit, like those of other processes.
   */
  within(client: Client): StoreTransaction<Client>
}
