import type { Attributes } from '@opentelemetry/api'
import type { DomainEvent } from '../../events/index.ts'
import type { SpanKindOf } from '../../observability/tracer.ts'
import type { Delivery, ServerAddress } from '../../transport/transport.ts'

/** The broker and the stream, exchange or topic of a bus, as spans and metrics name them. */
export interface MessagingTarget {
  readonly system: string
  readonly destination: string
  /** Undefined if the broker has several addresses. */
  readonly server?: ServerAddress | undefined
}

/** The attributes that every span and metric of a bus has. */
export function targetAttributes({ system, destination, server }: MessagingTarget): Attributes {
  return {
    'messaging.system': system,
    'messaging.destination.name': destination,
    ...(server === undefined ? {} : { 'server.address': server.host, 'server.port': server.port }),
  }
}

/** The span of one publish call: one event, or a batch. */
export function publishSpanOf(target: MessagingTarget): SpanKindOf<readonly DomainEvent[]> {
  const { system, destination } = target
  const shared = {
    ...targetAttributes(target),
    'messaging.operation.type': 'send',
    'messaging.operation.name': 'publish',
  }
  return {
    role: 'producer',
    name: (events) => `${system}.publish ${commonType(events) ?? destination}`,
    attributes: (events) => {
      const [first] = events
      return {
        ...shared,
        ...(events.length === 1 && first !== undefined
          ? eventAttributes(first)
          : { 'messaging.batch.message_count': events.length }),
      }
    },
  }
}

/** The subject of a span that covers the handling of a message. */
export interface ConsumeSubject {
  readonly delivery: Delivery
  /** Undefined if the message could not be decoded. */
  readonly event: DomainEvent | undefined
}

/** The span of handling one message from a broker; its parent is the span that published the message. */
export function consumeSpanOf(target: MessagingTarget, consumerGroup: string): SpanKindOf<ConsumeSubject> {
  const { system, destination } = target
  const shared = { ...processing(target), 'messaging.consumer.group.name': consumerGroup }
  return {
    role: 'consumer',
    cause: ({ delivery }) => delivery.message.headers,
    name: ({ event }) => `${system}.consume ${event?.eventType ?? destination}`,
    attributes: ({ delivery, event }) => ({
      ...shared,
      'eventspine.delivery.id': delivery.message.id,
      'eventspine.delivery.count': delivery.deliveryCount,
      ...delivery.describe?.(),
      ...(event === undefined ? {} : eventAttributes(event)),
    }),
  }
}

/** The span around all handlers of one event in memory. */
export function dispatchSpanOf(target: MessagingTarget): SpanKindOf<{ readonly event: DomainEvent }> {
  const shared = processing(target)
  return {
    role: 'consumer',
    leavesFailuresToChildren: true,
    name: ({ event }) => `${target.system}.consume ${event.eventType}`,
    attributes: ({ event }) => ({ ...shared, ...eventAttributes(event) }),
  }
}

function processing(target: MessagingTarget): Attributes {
  return {
    ...targetAttributes(target),
    'messaging.operation.type': 'process',
    'messaging.operation.name': 'consume',
  }
}

/** The type of all events; undefined if they differ. */
function commonType(events: readonly DomainEvent[]): string | undefined {
  const type = events[0]?.eventType
  return events.every(({ eventType }) => eventType === type) ? type : undefined
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
