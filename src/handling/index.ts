export {
  DiscardError,
  HandlerDeadlockError,
  HandlerNameError,
  HandlerTimeoutError,
  NonRetryableError,
  RetryAfterError,
  ShutdownError,
  WaitingLineFullError,
} from './errors.ts'
export {
  type AnyEventHandler,
  AsyncEventHandler,
  type EventHandler,
  type EventHandlerFunction,
  type EventSubscriber,
  type HandlerContext,
} from './event-handler.ts'
export type { SubscribeOptions } from './handler-entry.ts'
export type { HandlerPolicy } from './handler-policy.ts'
export type { Subscription } from './handler-registry.ts'
export type { HandlingContext, HandlingMiddleware } from './handling-middleware.ts'
export type { LongWaitOptions } from './long-waits.ts'
export { type HandledKeys, idempotencyKeyOf, once } from './once.ts'
export type { OutageGuardOptions } from './outage-guard.ts'
