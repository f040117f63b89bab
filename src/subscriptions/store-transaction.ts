import type { SnapshotStore, StreamStore } from '../store/index.ts'
import type { CheckpointStore } from './checkpoint-store.ts'
import type { SubscriptionDeadLetterStore } from './dead-letter-store.ts'
import type { OutboxTransaction } from './outbox.ts'

/** The notes of an inbox inside a transaction. They are stored with its commit, or not at all. */
export interface InboxTransaction {
  /**
   * Notes that a handler has had an event. If another transaction is about to note the same, the call waits for its end.
   * @returns false if it was noted before: do nothing then.
   * @throws TransactionRequiredError if no transaction is open.
   */
  add(handlerName: string, eventId: string): Promise<boolean>
}

/** The stores inside one transaction. Their writes are stored with its commit, or not at all. */
export interface StoreTransaction<Client = unknown> {
  /** Runs the caller's own statements in the same transaction. */
  readonly client: Client
  /** A conflict rejects only the append; the transaction continues. */
  readonly events: StreamStore
  readonly snapshots: SnapshotStore
  readonly checkpoints: CheckpointStore
  readonly deadLetters: SubscriptionDeadLetterStore
  readonly inbox: InboxTransaction
  readonly outbox: OutboxTransaction
}
