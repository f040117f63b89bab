export { BrokerEventBus } from './broker-event-bus.ts'
export { type BrokerOptions, brokerDefaults, brokerRules } from './broker-options.ts'
export type { BrokerEventBusStats } from './bus-counters.ts'
export { readReason, writeReason } from './dead-letter-fields.ts'
export {
  type DeadLetter,
  type DeadLetterFilter,
  type DeadLetterList,
  type DeadLetterListOptions,
  DeadLetterQueue,
} from './dead-letter-queue.ts'
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
export {
  type AnyEventHandler,
  AsyncEventHandler,
  type EventHandler,
  type EventHandlerFunction,
  type EventSubscriber,
  type HandlerContext,
} from './event-handler.ts'
export type { SubscribeOptions, Subscription } from './handler-registry.ts'
export type { BusHealth, HealthCheck, HealthOptions, MeasuredCheck } from './health.ts'
export {
  InMemoryEventBus,
  type InMemoryEventBusOptions,
  type InMemoryEventBusStats,
} from './in-memory-event-bus.ts'
export type { NoticeSubscription } from './notice-board.ts'
export type { BusNotice, BusNoticeListener } from './notices.ts'
export { type OptionRule, resolveOptions } from './options.ts'
export { REPLAY_HANDLERS, replayHeader } from './replay-headers.ts'
export { type RetryOptions, RetryPolicy } from './retry-policy.ts'
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
} from './transport.ts'
