export { type CheckpointStore, InMemoryCheckpointStore } from './checkpoint-store.ts'
export {
  InMemorySubscriptionDeadLetterStore,
  type ParkedEvent,
  type ParkedEventFilter,
  type SubscriptionDeadLetterStore,
} from './dead-letter-store.ts'
export {
  CheckpointConflictError,
  DuplicateSubscriptionError,
  PositionAheadError,
  SubscriptionFailedError,
  SubscriptionNotFoundError,
  SubscriptionStoppedError,
} from './errors.ts'
export { FileCheckpointStore } from './file-checkpoint-store.ts'
export type { HealthStatus, SubscriptionState, SubscriptionStatus, SubscriptionsHealth } from './health.ts'
export { InMemoryLeaseStore, type LeaseStore } from './lease-store.ts'
export {
  type BatchProjection,
  type HandlerBinding,
  type HandlerSet,
  handlerFor,
  type Projection,
} from './projection.ts'
export type { RebuildReport } from './rebuild.ts'
export type { RelayOptions } from './relay.ts'
export type { StopReport } from './shutdown-report.ts'
export type { RunUntilShutdownOptions } from './shutdown-signals.ts'
export {
  type RebuildOptions,
  type StopOptions,
  SubscriptionManager,
  type SubscriptionManagerOptions,
} from './subscription-manager.ts'
export type { SubscriptionProblem } from './subscription-monitor.ts'
export type {
  StartFrom,
  StartPlace,
  SubscriptionOptions,
  SubscriptionProgress,
} from './subscription-options.ts'
