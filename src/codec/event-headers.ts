import { type EventSource, sourceOf } from '../events/domain-event.ts'
import type { DomainEvent } from '../events/index.ts'
import type { MessageHeaders } from './event-codec.ts'

/**
 * The headers of eventsource-py's Kafka messages, in its order. The other transports use a subset.
 * @param passedOn - the source whose body is sent; its names must be those of the headers.
 */
export function eventHeaders(event: DomainEvent, passedOn: EventSource | undefined): MessageHeaders {
  const { eventType, aggregateType } = passedOn?.names ?? event
  const headers: Record<string, string> = {
    event_id: event.eventId,
    event_type: eventType,
    aggregate_id: event.aggregateId,
    aggregate_type: aggregateType,
    aggregate_version: String(event.aggregateVersion),
    occurred_at: sourceOf(event)?.exactTime?.replace(/Z$/, '+00:00') ?? headerTime(event.occurredAt),
    correlation_id: event.correlationId,
  }
  if (event.tenantId !== undefined) headers['tenant_id'] = event.tenantId
  if (event.causationId !== undefined) headers['causation_id'] = event.causationId
  if (event.actorId !== undefined) headers['actor_id'] = event.actorId
  return headers
}

/** The format of Python's `isoformat`: `+00:00` instead of `Z`, and six digits of fraction or none. */
function headerTime(time: Date): string {
  const iso = time.toISOString()
  return iso.endsWith('.000Z') ? `${iso.slice(0, -5)}+00:00` : `${iso.slice(0, -1)}000+00:00`
}
