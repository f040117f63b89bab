import type { DomainEvent, EventClass } from '../events/index.ts'

/** What a handler receives in addition to the event. */
export interface HandlerContext {
  /** Aborts when the handler takes longer than `handlerTimeoutMs`, or when a shutdown times out. */
  readonly signal: AbortSignal
  /** Number of this handler's attempt for this event, from 1. */
  readonly attempt: number
  /** How often the broker has delivered the message, including this delivery; 1 in memory. */
  readonly deliveryCount: number
  /** The consumer group of the bus; undefined in memory. */
  readonly consumerGroup: string | undefined
  /** The broker's identifier of the message; undefined in memory. */
  readonly messageId: string | undefined
}

/** A handler as a function, synchronous or asynchronous. A returned promise is awaited, other values are ignored. */
export type EventHandlerFunction<E extends DomainEvent = DomainEvent> = (
  event: E,
  context: HandlerContext,
) => unknown

/** A handler as an object. */
export interface EventHandler<E extends DomainEvent = DomainEvent> {
  /** The handler's identity, unless `subscribe` is given another name; see `SubscribeOptions.name`. */
  readonly name?: string
  /** Handles one event. An attempt that throws or rejects has failed. */
  readonly handle: EventHandlerFunction<E>
  /**
   * Optional filter, called before each event. If it returns false, the event counts as handled. If it returns anything
   * but a boolean, the attempt fails.
   */
  readonly canHandle?: (event: E) => boolean
}

/** A handler that declares its own event classes; pass it to `subscribeAll`. */
export interface EventSubscriber<E extends DomainEvent = DomainEvent> extends EventHandler<E> {
  readonly subscribedTo: () => readonly EventClass[]
}

/** A handler in any form that `subscribe` accepts. */
export type AnyEventHandler<E extends DomainEvent = DomainEvent> = EventHandler<E> | EventHandlerFunction<E>

/** Base class for handlers of several event types; pass it to `subscribeAll`. */
export abstract class AsyncEventHandler<E extends DomainEvent = DomainEvent> {
  /** The event classes that this handler handles. */
  abstract eventTypes(): readonly EventClass<E>[]

  abstract handle(event: E, context: HandlerContext): Promise<void>

  /** Accepts the events of {@link eventTypes}; override it to filter further. */
  canHandle(event: E): boolean {
    return this.eventTypes().some((eventClass) => eventClass.eventType === event.eventType)
  }
}
