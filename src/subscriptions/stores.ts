import type { EventStore, SnapshotStore, StreamStore } from '../store/index.ts'
import type { CheckpointStore } from './checkpoint-store.ts'
import type { SubscriptionDeadLetterStore } from './dead-letter-store.ts'
import type { LeaseStore } from './lease-store.ts'

/** The stores as they are inside one transaction: what they write is stored with its commit, or not at all. */
export interface StoreTransaction<Client = unknown> {
  /** Runs the caller's own statements in the same transaction. */
  readonly client: Client
  /** A conflict is an error of the append only: the transaction goes on. */
  readonly events: StreamStore
  readonly snapshots: SnapshotStore
  readonly checkpoints: CheckpointStore
  readonly deadLetters: SubscriptionDeadLetterStore
}

/**
 * All that a service keeps in one place: its events and snapshots, and the checkpoints, leases and parked events of its
 * subscriptions. `describeStores` in `eventspine/testing` is the contract as tests.
 */
export interface Stores<Client = unknown> extends AsyncDisposable {
  readonly events: EventStore
  readonly snapshots: SnapshotStore
  readonly checkpoints: CheckpointStore
  readonly leases: LeaseStore
  readonly deadLetters: SubscriptionDeadLetterStore
  /**
   * Runs work in a transaction: commits when it resolves, rolls back when it throws or rejects. Use `tx` only, and only
   * until then. Nothing of it can be read elsewhere before the commit, and listeners are called after it.
   *
   * @returns what the work returned.
   * @throws what the work threw; StoreOutcomeUnknownError when the answer to the commit was lost.
   * @example
   * await stores.transaction(async (tx) => {
   *   await orders.within(tx).save(order)
   *   await tx.client.query('update accounts set balance = balance - $1', [order.total])
   * })
   */
  transaction<T>(work: (tx: StoreTransaction<Client>) => Promise<T>): Promise<T>
  /** Resolves when the stores can be used: connected, and of the schema that this release needs. @throws why not. */
  ready(): Promise<void>
  /** Waits for the calls under way, then lets go of what it holds open. Idempotent. */
  close(): Promise<void>
}

/** Stores in a database, whose client the caller may have already. */
export interface DatabaseStores<Client> extends Stores<Client> {
  /**
   * The stores inside a transaction that the caller began with their own client, and will commit or roll back. Listeners
   * in this process are called as those in others are: when the store notices the commit.
   */
  within(client: Client): StoreTransaction<Client>
}
