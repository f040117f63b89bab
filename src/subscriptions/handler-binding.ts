import type { DomainEvent, EventClass, EventOf } from '../events/index.ts'
import type { HandlerContext } from '../handling/event-handler.ts'
import type { SubscribeOptions } from '../handling/handler-entry.ts'

/** A handler of one or several event classes; create it with {@link handlerFor}. */
export interface HandlerBinding<Context extends HandlerContext = HandlerContext> {
  readonly eventClasses: readonly EventClass[]
  readonly handler: unknown
  readonly options?: SubscribeOptions
  /** Only a type: what the handler receives in addition to the event. */
  readonly takes?: (context: Context) => void
}

/** A handler of {@link handlerFor}. */
type BoundHandler<E extends DomainEvent, Context extends HandlerContext> =
  | ((event: E, context: Context) => unknown)
  | {
      readonly name?: string
      readonly handle: (event: E, context: Context) => unknown
      readonly canHandle?: (event: E) => boolean
    }

/**
 * Creates a handler for the `handlers` of a subscription; its parameter is inferred. If an event has several handlers,
 * give each of them a `name`: a replay of parked events runs only the handlers that had failed, and finds them by their
 * names. Options that are left out are those of the subscription.
 *
 * @example
 * manager.subscribe({ name: 'invoices', handlers: [handlerFor(OrderCreated, (event) => invoice(event.customerId))] })
 */
export function handlerFor<
  const C extends EventClass | readonly EventClass[],
  Context extends HandlerContext = HandlerContext,
>(
  eventClass: C,
  handler: BoundHandler<EventOf<C>, Context>,
  options: SubscribeOptions = {},
): HandlerBinding<Context> {
  return { eventClasses: Array.isArray(eventClass) ? eventClass : [eventClass], handler, options }
}
