import { envelopeOf, sourceOf, writtenFormOf } from '../events/domain-event.ts'
import { type DomainEvent, type EventClass, GenericEvent } from '../events/index.ts'
import { decodedForm } from '../events/round-trip.ts'
import { type DecodedFields, reviveEvent } from './revive.ts'

/**
 * The event as a consumer with this class decodes it: the event itself if it is an instance of the class, otherwise an instance
 * made from its JSON. For buses and stores that keep events as objects.
 *
 * @throws DecodeError if the class refuses the event.
 */
export function asInstanceOf(event: DomainEvent, eventClass: EventClass | undefined): DomainEvent {
  return isInstanceOf(event, eventClass) ? event : converted(event, eventClass)
}

/** True if the event needs no conversion to be what a consumer with this class gets. */
export function isInstanceOf(event: DomainEvent, eventClass: EventClass | undefined): boolean {
  return eventClass === undefined || event.constructor === eventClass || event instanceof eventClass
}

/** The event as a consumer without its class decodes it. */
export function asGeneric(event: DomainEvent): DomainEvent {
  return event instanceof GenericEvent ? event : converted(event, undefined)
}

/** The event as a consumer without its class decodes it, with another aggregate type. */
export function withAggregateType(event: DomainEvent, aggregateType: string): DomainEvent {
  return converted(event, undefined, aggregateType)
}

function converted(
  event: DomainEvent,
  eventClass: EventClass | undefined,
  aggregateType = event.aggregateType,
): DomainEvent {
  const { eventVersion, payload } = writtenFormOf(event)
  // The decoded form of an object is an object.
  const fields = decodedForm(payload, '') as DecodedFields['payload']
  const { metadata, ...rest } = envelopeOf(event)
  const envelope = { ...rest, eventVersion, aggregateType }
  return reviveEvent(eventClass, { envelope, metadata, payload: fields }, sourceOf(event))
}
