import { describeValue } from '../errors.ts'
import { EventInit, type EventPayload, envelopeOf, instantiate } from '../events/domain-event.ts'
import { assertEventClass } from '../events/event-registry.ts'
import type { DomainEvent, EnvelopeInput, EventClass } from '../events/index.ts'

type InputOf<C> = C extends new (input: infer Input) => DomainEvent ? Input : never

/** Removes the envelope. Unlike `Omit`, it keeps index signatures and unions. */
type PayloadOf<Input> = Input extends unknown
  ? { [Key in keyof Input as Key extends keyof EnvelopeInput ? never : Key]: Input[Key] }
  : never

/** One of the events that replace an event. */
export interface ReplacingEvent {
  readonly eventClass: EventClass
  readonly payload: object
}

/** Describes one of the events that replace an event. It takes over the envelope; the payload is validated. */
export type CreateReplacing<Classes extends readonly EventClass[]> = <C extends Classes[number]>(
  eventClass: C,
  payload: PayloadOf<InputOf<C>>,
) => ReplacingEvent

/** An event that subscriptions get as other events, or not at all. Create it with {@link replaceEvent} or {@link dropEvent}. */
export interface EventReplacement {
  readonly eventClass: EventClass
  /** The classes of the events that replace it. */
  readonly into: readonly EventClass[]
  /** The events that replace an event, in order. */
  readonly split: (event: DomainEvent) => readonly DomainEvent[]
}

/**
 * Replaces a stored event by one or several events of other classes in all subscriptions of a manager. The store keeps the event,
 * and aggregates are loaded from it as before.
 *
 * Several events have ids of their own, made from the id of the stored event; a single one keeps it. They have one position: a
 * subscription is past it when its handlers have handled all of them. A retry repeats all of them for the handler that failed.
 *
 * @param split - describes the events; it must depend on nothing but the event.
 * @throws TypeError if a class is no event class, or belongs to another aggregate type.
 * @example
 * new SubscriptionManager({
 *   eventStore: stores.events,
 *   checkpoints: stores.checkpoints,
 *   replacements: [
 *     replaceEvent(OrderPlacedAndPaid, [OrderPlaced, OrderPaid], ({ total }, create) => [
 *       create(OrderPlaced, { total }),
 *       create(OrderPaid, { amount: total }),
 *     ]),
 *   ],
 * })
 */
export function replaceEvent<C extends EventClass, const Into extends readonly EventClass[]>(
  eventClass: C,
  into: Into,
  split: (event: InstanceType<C>, create: CreateReplacing<Into>) => readonly ReplacingEvent[],
): EventReplacement {
  for (const each of [eventClass, ...into]) {
    assertEventClass(each)
    if (each.aggregateType === eventClass.aggregateType) continue
    throw new TypeError(
      `replaceEvent: ${each.eventType} must belong to ${eventClass.aggregateType}, as ${eventClass.eventType} does, got ${each.aggregateType}.`,
    )
  }
  const create: CreateReplacing<Into> = (of, payload) => ({ eventClass: of, payload })
  return {
    eventClass,
    into,
    // Only events of the class come here.
    split: (event) => created(event, into, split(event as InstanceType<C>, create)),
  }
}

/** Leaves a stored event out of all subscriptions of a manager. The store keeps it, and aggregates are loaded from it as before. */
export function dropEvent(eventClass: EventClass): EventReplacement {
  return replaceEvent(eventClass, [], () => [])
}

function created(
  event: DomainEvent,
  into: readonly EventClass[],
  replacing: readonly ReplacingEvent[],
): readonly DomainEvent[] {
  if (!Array.isArray(replacing)) {
    throw new TypeError(
      `The replacement of ${event.eventType} must return an array, got ${describeValue(replacing)}.`,
    )
  }
  // The compiler has checked each of them.
  return (replacing as readonly ReplacingEvent[]).map(({ eventClass, payload }, index) => {
    if (!into.includes(eventClass)) {
      throw new TypeError(`The replacement of ${event.eventType} must name the class ${eventClass.name}.`)
    }
    const { eventType, aggregateType, schemaVersion: eventVersion } = eventClass
    // An inbox may have the id already, so a single event keeps it.
    const eventId = replacing.length === 1 ? event.eventId : `${event.eventId}/${index + 1}`
    const envelope = { ...envelopeOf(event), eventId, eventType, aggregateType, eventVersion }
    // The fields of an object are a payload, which the class validates.
    return instantiate(eventClass, new EventInit(envelope, payload as EventPayload, false))
  })
}
