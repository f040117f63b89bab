import type { DomainEvent } from '../events/index.ts'
import type { SpanRequest } from '../observability/tracer.ts'
import type { Delivery } from './transport.ts'

interface SpanPlace {
  readonly system: string
  readonly destination: string
}

/** The span of one publish call: one event, or a batch. */
export function publishSpan({ system, destination }: SpanPlace, events: readonly DomainEvent[]): SpanRequest {
  const [first] = events
  const isSingle = events.length === 1
  return {
    role: 'producer',
    name: () => `${system}.publish ${isSingle ? first?.eventType : destination}`,
    attributes: () => ({
      'messaging.system': system,
      'messaging.destination.name': destination,
      'messaging.operation.type': 'publish',
      'messaging.operation.name': 'publish',
      ...(isSingle && first !== undefined
        ? eventAttributes(first)
        : { 'messaging.batch.message_count': events.length }),
    }),
  }
}

/** The span of handling one message; a child of the span that published it. */
export function consumeSpan(
  { system, destination, consumerGroup }: SpanPlace & { readonly consumerGroup: string },
  { message, deliveryCount }: Delivery,
  event: DomainEvent,
): SpanRequest {
  return {
    role: 'consumer',
    parent: message.headers,
    name: () => `${system}.consume ${event.eventType}`,
    attributes: () => ({
      'messaging.system': system,
      'messaging.destination.name': destination,
      'messaging.operation.type': 'process',
      'messaging.operation.name': 'consume',
      'messaging.consumer.group.name': consumerGroup,
      'eventspine.delivery.id': message.id,
      'eventspine.delivery.count': deliveryCount,
      ...eventAttributes(event),
    }),
  }
}

function eventAttributes(event: DomainEvent) {
  return {
    'messaging.message.id': event.eventId,
    'eventspine.event.id': event.eventId,
    'eventspine.event.type': event.eventType,
    'eventspine.aggregate.id': event.aggregateId,
    'eventspine.aggregate.type': event.aggregateType,
  }
}
