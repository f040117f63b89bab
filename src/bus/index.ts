export type { BusAdmin, DeleteGroupOptions } from './admin/bus-admin.ts'
export { withBroadcast } from './broadcast.ts'
export { BrokerEventBus } from './broker-event-bus.ts'
export {
  type BrokerOptions,
  brokerDefaults,
  brokerRules,
  type NewerVersions,
  type UnhandledEvents,
} from './broker-options.ts'
export type { BusMiddleware } from './bus-middleware.ts'
export type { DeadLetter } from './dead-letters/dead-letter.ts'
export type { DeadLetterFilter } from './dead-letters/dead-letter-filter.ts'
export {
  type DeadLetterList,
  type DeadLetterListOptions,
  DeadLetterQueue,
  type DeadLetterReplayOptions,
  type ReplayAllOptions,
} from './dead-letters/dead-letter-queue.ts'
export {
  BusClosedError,
  GroupInUseError,
  GroupNotFoundError,
  HandlerNotFoundError,
  PublishError,
  type PublishOutcome,
} from './errors.ts'
export { EventBus, type PublishOptions, type ShutdownOptions } from './event-bus.ts'
export type { BusHealth, HealthCheck, HealthOptions, MeasuredCheck } from './health.ts'
export {
  InMemoryEventBus,
  type InMemoryEventBusStats,
} from './in-memory-event-bus.ts'
export type { InMemoryEventBusOptions } from './in-memory-options.ts'
export { currentLogFields, loggingContext } from './middleware/logging-context.ts'
export { currentTenant, runAsTenant, tenantContext } from './middleware/tenant-context.ts'
export { validation } from './middleware/validation.ts'
export {
  type Ordering,
  orderingOf,
  type PartitionOptions,
  partitionDefaults,
  partitionRules,
} from './partition-options.ts'
export type { PublishContext, PublishMiddleware } from './publishing/publish-middleware.ts'
export type { BrokerEventBusStats } from './telemetry/bus-counters.ts'
export type { NoticeSubscription } from './telemetry/notice-board.ts'
