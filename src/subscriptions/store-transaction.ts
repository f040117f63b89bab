import type { SnapshotStore, StreamStore } from '../store/index.ts'
import type { CheckpointTransaction } from './checkpoint-store.ts'
import type { SubscriptionDeadLetterStore } from './dead-letter-store.ts'
import type { OutboxTransaction } from './outbox.ts'

/** The records of an inbox inside a transaction. They are committed with the transaction, or not at all. */
export interface InboxTransaction {
  /**
   * Records that a handler has handled an event. If another open transaction has added the same record, the call waits
   * until that transaction ends.
   * @returns false if the record already exists. In that case, do not handle the event.
   * @throws TransactionRequiredError if no transaction is open.
   */
  add(handlerName: string, eventId: string): Promise<boolean>
}

/** The stores inside one transaction. Their writes are committed with the transaction, or not at all. */
export interface StoreTransaction<Client = unknown> {
  /** Runs the caller's own statements in the same transaction. */
  readonly client: Client
  /** A conflict rejects only the append; the transaction continues. */
  readonly events: StreamStore
  readonly snapshots: SnapshotStore
  readonly checkpoints: CheckpointTransaction
  readonly deadLetters: SubscriptionDeadLetterStore
  readonly inbox: InboxTransaction
  readonly outbox: OutboxTransaction
}
