import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { expect, it } from 'vitest'
import type { BrokerEventBus, BrokerOptions, DomainEvent } from '../../src/index.ts'
import type { RawMessage } from '../../src/testing/index.ts'
import { allCapturedMessages } from '../wire/captured.ts'
import { OrderCreated, OrderShipped, orderCreated, orderShipped } from './order-events.ts'
import { spanNamed, startTracing } from './telemetry.ts'
import { waitFor } from './wait-for.ts'

export interface TracedBroker {
  /** A bus on a stream, exchange or topic that is unique to the test, and the same for each call in a test. */
  readonly create: (scope: string, options: BrokerOptions) => BrokerEventBus
  /** Writes a message as eventsource-py does. */
  readonly publishRaw: (scope: string, message: RawMessage) => Promise<void>
  readonly scope: () => string
  /** `server.address` and `server.port`, if the broker has one address. */
  readonly server: Readonly<Record<string, unknown>>
  /** Attributes of each consume span that are specific to this broker. */
  readonly attributes: Readonly<Record<string, unknown>>
  readonly destination: (scope: string) => string
}

/** A message that eventsource-py sent inside a trace. */
const traced =
  allCapturedMessages.find(({ message }) => message.headers['traceparent'] !== undefined) ?? none()

function none(): never {
  throw new Error('test/wire has no message with a trace context')
}

async function consuming(bus: BrokerEventBus): Promise<BrokerEventBus> {
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  return bus
}

/** Traces over one broker, with the real SDK. */
export function traceTests(system: string, broker: TracedBroker): void {
  it('is one trace over publish, broker, consumer, handler and a second hop', async () => {
    const exporter = startTracing()
    const scope = broker.scope()
    const bus = broker.create(scope, {})
    let answer: DomainEvent | undefined
    bus.subscribe(OrderCreated, async function shipping() {
      await Promise.resolve()
      await bus.publish([orderShipped()])
    })
    bus.subscribe(OrderShipped, function closing(event) {
      answer = event
    })
    await consuming(bus)
    const event = orderCreated()

    await trace.getTracer('test').startActiveSpan('request', async (request) => {
      await bus.publish([event])
      request.end()
    })
    await waitFor(() => exporter.getFinishedSpans().some(({ name }) => name === 'handle closing'))
    await waitFor(() => exporter.getFinishedSpans().length === 7)

    const spans = exporter.getFinishedSpans()
    const chain = [
      'request',
      `${system}.publish OrderCreated`,
      `${system}.consume OrderCreated`,
      'handle shipping',
      `${system}.publish OrderShipped`,
      `${system}.consume OrderShipped`,
      'handle closing',
    ].map((name) => spanNamed(spans, name))
    for (const [index, span] of chain.entries()) {
      expect(span.parentSpanContext?.spanId, span.name).toBe(chain[index - 1]?.spanContext().spanId)
      expect(span.spanContext().traceId, span.name).toBe(chain[0]?.spanContext().traceId)
    }
    expect(chain.map(({ kind }) => kind)).toEqual([
      SpanKind.INTERNAL,
      SpanKind.PRODUCER,
      SpanKind.CONSUMER,
      SpanKind.INTERNAL,
      SpanKind.PRODUCER,
      SpanKind.CONSUMER,
      SpanKind.INTERNAL,
    ])
    const ofEvent = {
      'messaging.system': system,
      'messaging.destination.name': broker.destination(scope),
      ...broker.server,
      'messaging.message.id': event.eventId,
      'eventspine.event.id': event.eventId,
      'eventspine.event.type': 'OrderCreated',
      'eventspine.aggregate.id': 'Order-1',
      'eventspine.aggregate.type': 'Order',
    }
    expect(chain[1]?.attributes).toEqual({
      ...ofEvent,
      'messaging.operation.type': 'send',
      'messaging.operation.name': 'publish',
    })
    expect(chain[2]?.attributes).toEqual({
      ...ofEvent,
      'messaging.operation.type': 'process',
      'messaging.operation.name': 'consume',
      'messaging.consumer.group.name': 'default',
      'eventspine.delivery.id': expect.any(String),
      'eventspine.delivery.count': 1,
      ...broker.attributes,
    })
    expect(answer).toMatchObject({ correlationId: event.correlationId, causationId: event.eventId })
  })

  it('a batch is one span; each consumer is its child and links to it', async () => {
    const exporter = startTracing()
    const bus = broker.create(broker.scope(), {})
    bus.subscribe(OrderCreated, function noting() {})
    await consuming(bus)

    await bus.publish([orderCreated('Order-1'), orderCreated('Order-2'), orderCreated('Order-3')])
    await waitFor(() => exporter.getFinishedSpans().length === 7)

    const spans = exporter.getFinishedSpans()
    const publish = spanNamed(spans, `${system}.publish OrderCreated`)
    expect(publish.attributes['messaging.batch.message_count']).toBe(3)
    const consumed = spans.filter(({ kind }) => kind === SpanKind.CONSUMER)
    expect(consumed).toHaveLength(3)
    for (const { parentSpanContext, links } of consumed) {
      expect(parentSpanContext?.spanId).toBe(publish.spanContext().spanId)
      expect(links.map(({ context }) => context.spanId)).toEqual([publish.spanContext().spanId])
    }
  })

  it("a failed handler's span has its error, a retry is an event, a dead letter a status", async () => {
    const exporter = startTracing()
    const bus = broker.create(broker.scope(), { maxRetries: 1 })
    bus.subscribe(OrderCreated, function failing() {
      throw new RangeError('out of paper')
    })
    await consuming(bus)

    await bus.publish([orderCreated()])
    await waitFor(() => exporter.getFinishedSpans().length === 4)

    const spans = exporter.getFinishedSpans()
    const handled = spans.filter(({ name }) => name === 'handle failing')
    expect(handled.map(({ attributes }) => attributes['eventspine.attempt'])).toEqual([1, 2])
    for (const { status, attributes, events } of handled) {
      expect(status).toEqual({ code: SpanStatusCode.ERROR, message: 'out of paper' })
      expect(attributes['error.type']).toBe('RangeError')
      expect(events.map(({ name }) => name)).toEqual(['exception'])
    }
    const consumed = spanNamed(spans, `${system}.consume OrderCreated`)
    expect(consumed.events.map(({ name, attributes }) => [name, attributes?.['eventspine.attempt']])).toEqual(
      [['retry', 2]],
    )
    expect(consumed.status).toEqual({
      code: SpanStatusCode.ERROR,
      message: 'dead-lettered: max_retries_exceeded',
    })
  })

  it('continues the trace context that eventsource-py wrote', async () => {
    const exporter = startTracing()
    const scope = broker.scope()
    const bus = broker.create(scope, {})
    bus.subscribeToAllEvents(function noting() {})
    await consuming(bus)
    const { message } = traced

    await broker.publishRaw(scope, { key: message.headers['aggregate_id'] ?? '', ...message })
    await waitFor(() => exporter.getFinishedSpans().length === 2)

    const consumed = spanNamed(exporter.getFinishedSpans(), `${system}.consume _OTHER`)
    const [, traceId, spanId] = message.headers['traceparent']?.split('-') ?? []
    expect(consumed.spanContext().traceId).toBe(traceId)
    expect(consumed.parentSpanContext).toMatchObject({ spanId, isRemote: true })
  })

  it('enableTracing: false creates no span and writes no header', async () => {
    const exporter = startTracing()
    const scope = broker.scope()
    const silent = broker.create(scope, { enableTracing: false })
    let handled = 0
    silent.subscribe(OrderCreated, () => {
      handled += 1
    })
    await consuming(silent)

    await silent.publish([orderCreated()])
    await waitFor(() => handled === 1)

    expect(exporter.getFinishedSpans()).toEqual([])
  })
}
