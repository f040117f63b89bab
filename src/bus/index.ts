export {
  type AnyEventHandler,
  AsyncEventHandler,
  type EventHandler,
  type EventHandlerFunction,
  type EventSubscriber,
  type HandlerContext,
} from '../handling/event-handler.ts'
export type { SubscribeOptions, Subscription } from '../handling/handler-registry.ts'
export { type OptionRule, resolveOptions } from '../kit/options.ts'
export { type RetryOptions, RetryPolicy } from '../kit/retry-policy.ts'
export { readReason, writeReason } from '../transport/dead-letter-fields.ts'
export type { BusNotice, BusNoticeListener } from '../transport/notices.ts'
export { REPLAY_HANDLERS, replayHeader } from '../transport/replay-headers.ts'
export type {
  Consumption,
  DeadLetterPage,
  DeadLetterReason,
  DeadLetterStore,
  Delivery,
  IncomingMessage,
  Intake,
  OutgoingMessage,
  PublishFailure,
  StoredDeadLetter,
  Transport,
  TransportHost,
} from '../transport/transport.ts'
export { BrokerEventBus } from './broker-event-bus.ts'
export { type BrokerOptions, brokerDefaults, brokerRules } from './broker-options.ts'
export {
  type DeadLetter,
  type DeadLetterFilter,
  type DeadLetterList,
  type DeadLetterListOptions,
  DeadLetterQueue,
} from './dead-letters/dead-letter-queue.ts'
export {
  BusClosedError,
  ConnectionError,
  HandlerTimeoutError,
  MessageRefusedError,
  PublishError,
  type PublishOutcome,
  PublishTimeoutError,
  ShutdownError,
} from './errors.ts'
export { EventBus, type PublishOptions, type ShutdownOptions } from './event-bus.ts'
export type { BusHealth, HealthCheck, HealthOptions, MeasuredCheck } from './health.ts'
export {
  InMemoryEventBus,
  type InMemoryEventBusOptions,
  type InMemoryEventBusStats,
} from './in-memory-event-bus.ts'
export type { BrokerEventBusStats } from './telemetry/bus-counters.ts'
export type { NoticeSubscription } from './telemetry/notice-board.ts'
