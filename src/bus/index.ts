export { BusClosedError, HandlerTimeoutError, ShutdownError } from './errors.ts'
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
export {
  InMemoryEventBus,
  type InMemoryEventBusOptions,
  type InMemoryEventBusStats,
} from './in-memory-event-bus.ts'
