import type { DomainEvent, EventClass } from '../events/index.ts'

/** What a handler gets beside the event. */
export interface HandlerContext {
  /** Aborted when the handler takes longer than `handlerTimeoutMs`, or when a shutdown runs out of time. */
  readonly signal: AbortSignal
  /** Which attempt of this handler this is for this event, from 1. */
  readonly attempt: number
  /** How often the broker has delivered the message, from 1; 1 in memory. */
  readonly deliveryCount: number
  /** The consumer group of the bus; undefined in memory. */
  readonly consumerGroup: string | undefined
  /** The broker's id of the message; undefined in memory. */
  readonly messageId: string | undefined
}

/** A handler as a function, synchronous or asynchronous. A returned promise is awaited, other values are ignored. */
export type EventHandlerFunction<E extends DomainEvent = DomainEvent> = (
  event: E,
  context: HandlerContext,
) => unknown

/** A handler as an object. */
export interface EventHandler<E extends DomainEvent = DomainEvent> {
  /** The handler's identity, unless `subscribe` is given another; see `SubscribeOptions.name`. */
  readonly name?: string
  /** Handles one event; throws or rejects to say that it failed. */
  readonly handle: EventHandlerFunction<E>
  /** Asked before each event, if it exists. An event that it refuses counts as handled. Anything but a boolean is a failure. */
  readonly canHandle?: (event: E) => boolean
}

/** A handler that says itself which events it wants; for `subscribeAll`. */
export interface EventSubscriber<E extends DomainEvent = DomainEvent> extends EventHandler<E> {
  readonly subscribedTo: () => readonly EventClass[]
}

/** Everything that `subscribe` takes as a handler. */
export type AnyEventHandler<E extends DomainEvent = DomainEvent> = EventHandler<E> | EventHandlerFunction<E>

/** Base class for handlers of several event types; pass it to `subscribeAll`. */
export abstract class AsyncEventHandler<E extends DomainEvent = DomainEvent> {
  /** The event classes this handler wants. */
  abstract eventTypes(): readonly EventClass<E>[]

  abstract handle(event: E, context: HandlerContext): Promise<void>

  /** Accepts exactly the events of {@link eventTypes}; override it to filter further. */
  canHandle(event: E): boolean {
    return this.eventTypes().some((eventClass) => eventClass.eventType === event.eventType)
  }
}

// What a bus takes beside a handler; transports read its names.
export type { EventClass }
