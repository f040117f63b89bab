export type { RebuildOptions, StopOptions, WaitOptions } from './call-options.ts'
export {
  type Checkpoint,
  type CheckpointStore,
  type CheckpointTransaction,
  InMemoryCheckpointStore,
  type ListedCheckpoints,
  type NamedCheckpoint,
} from './checkpoint-store.ts'
export {
  InMemorySubscriptionDeadLetterStore,
  type ParkedEvent,
  type ParkedEventFilter,
  type ParkedEventKey,
  type SubscriptionDeadLetterStore,
} from './dead-letter-store.ts'
export {
  CheckpointConflictError,
  DuplicateSubscriptionError,
  ForeignCheckpointError,
  PositionAheadError,
  SubscriptionFailedError,
  SubscriptionNotFoundError,
  SubscriptionStoppedError,
} from './errors.ts'
export { FileCheckpointStore } from './file-checkpoint-store.ts'
export { type HandlerBinding, handlerFor } from './handler-binding.ts'
export type { SubscriptionState, SubscriptionStatus, SubscriptionsHealth } from './health.ts'
export { InMemoryStores } from './in-memory-stores.ts'
export {
  type Inbox,
  type InboxContext,
  type InboxHandler,
  TransactionalInbox,
  type TransactionalInboxParts,
} from './inbox.ts'
export { InMemoryLeaseStore, type Lease, type LeaseStore } from './lease-store.ts'
export type { SubscriptionManagerOptions } from './manager-options.ts'
export type { Outbox, OutboxTransaction } from './outbox.ts'
export type { BatchProjection, HandlerSet, Projection } from './projection.ts'
export type { RebuildReport } from './rebuild.ts'
export type { RelayOptions } from './relay.ts'
export {
  type CreateReplacing,
  dropEvent,
  type EventReplacement,
  type ReplacingEvent,
  replaceEvent,
} from './replacements.ts'
export type { ReplayFailure, ReplayOptions, ReplayReport } from './replay.ts'
export type { StopReport } from './shutdown-report.ts'
export type { RunUntilShutdownOptions } from './shutdown-signals.ts'
export type { InboxTransaction, StoreTransaction } from './store-transaction.ts'
export type { DatabaseStores, Stores } from './stores.ts'
export { SubscriptionManager } from './subscription-manager.ts'
export { type ObserveSubscriptionsOptions, observeSubscriptions } from './subscription-metrics.ts'
export type { SubscriptionProblem } from './subscription-monitor.ts'
export type {
  StartFrom,
  StartPlace,
  SubscriptionOptions,
  SubscriptionProgress,
} from './subscription-options.ts'
export { TransactionalProjection } from './transactional-projection.ts'
export type {
  TransactionalProjectionOptions,
  TransactionalProjectionParts,
} from './transactional-units.ts'
