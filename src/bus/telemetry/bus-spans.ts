import type { Attributes } from '@opentelemetry/api'
import { shorten } from '../../errors.ts'
import type { DomainEvent } from '../../events/index.ts'
import { registeredType } from '../../handling/handler-span.ts'
import type { SpanKindOf } from '../../observability/tracer.ts'
import type { Delivery, ServerAddress } from '../../transport/transport.ts'

/** The names of the broker and of the stream, exchange or topic of a bus, for spans and metrics. */
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
    name: ({ event }) => `${system}.consume ${event === undefined ? destination : registeredType(event)}`,
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
    name: ({ event }) => `${target.system}.consume ${registeredType(event)}`,
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
  const [first] = events
  if (first === undefined || !events.every(({ eventType }) => eventType === first.eventType)) return undefined
  return registeredType(first)
}

/** Maximum length of a span attribute that comes from a message, in characters. */
const MAX_ATTRIBUTE = 256

function eventAttributes(event: DomainEvent) {
  return {
    'messaging.message.id': shorten(event.eventId, MAX_ATTRIBUTE),
    'eventspine.event.id': shorten(event.eventId, MAX_ATTRIBUTE),
    'eventspine.event.type': shorten(event.eventType, MAX_ATTRIBUTE),
    'eventspine.aggregate.id': shorten(event.aggregateId, MAX_ATTRIBUTE),
    'eventspine.aggregate.type': shorten(event.aggregateType, MAX_ATTRIBUTE),
  }
}
