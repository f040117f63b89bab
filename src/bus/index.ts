export type { BusAdmin, ObserveOptions, PauseOptions, SeekOptions } from './admin/bus-admin.ts'
export type {
  Topology,
  TopologyEdge,
  TopologyGroup,
  TopologyHandler,
  TopologyProducer,
} from './admin/topology.ts'
export type { Actor, Audit, AuditEntry } from './audit.ts'
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
export type { BulkOptions, BulkProgress } from './dead-letters/bulk-options.ts'
export type { DeadLetter } from './dead-letters/dead-letter.ts'
export type { DeadLetterFilter } from './dead-letters/dead-letter-filter.ts'
export { DeadLetterQueue } from './dead-letters/dead-letter-queue.ts'
export {
  bodyOfSample,
  type DeadLetterGroup,
  type DeadLetterSummary,
  type SummaryKey,
} from './dead-letters/dead-letter-summary.ts'
export type { EventEdit } from './dead-letters/edited-replay.ts'
export type { ExportedLetter } from './dead-letters/exported-letter.ts'
export type {
  DeadLetterList,
  DeadLetterListOptions,
  DeadLetterReplayOptions,
  ReplayAllOptions,
  ReplayEditedOptions,
  ReplayOneOptions,
  SummaryOptions,
  SummaryProgress,
} from './dead-letters/queue-options.ts'
export {
  BusClosedError,
  GroupInUseError,
  GroupNotFoundError,
  GroupStillRunningError,
  HandlerNotFoundError,
  PublishError,
  type PublishOutcome,
} from './errors.ts'
export { EventBus, type PublishOptions, type ShutdownOptions } from './event-bus.ts'
export type {
  EventExplanation,
  ExplainedGroup,
  ExplainOptions,
  SearchReport,
} from './event-explanation.ts'
export type { Finding } from './finding.ts'
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
export type { ConsumerHandler, ConsumerInfo, ProcessInfo } from './presence/report.ts'
export type { PublishContext, PublishMiddleware } from './publishing/publish-middleware.ts'
export type { BrokerEventBusStats } from './telemetry/bus-counters.ts'
export type { NoticeSubscription } from './telemetry/notice-board.ts'
