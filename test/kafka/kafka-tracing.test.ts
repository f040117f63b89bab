import { context, propagation, SpanKind, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { expect, inject, it, onTestFinished } from 'vitest'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { consume, createBus, freshName, until } from './kafka-scene.ts'
import { produce } from './plain-kafka.ts'

function startSdk(): InMemorySpanExporter {
  const exporter = new InMemorySpanExporter()
  trace.setGlobalTracerProvider(
    new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
  )
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  propagation.setGlobalPropagator(new W3CTraceContextPropagator())
  onTestFinished(() => {
    trace.disable()
    context.disable()
    propagation.disable()
  })
  return exporter
}

it('is one trace from publish over consume to the handler, through the headers', async () => {
  const exporter = startSdk()
  const bus = createBus()
  bus.subscribe(OrderCreated, function invoice() {})
  await consume(bus)

  await bus.publish([orderCreated()])

  await until('the spans', () => exporter.getFinishedSpans().length === 3)
  const spans = new Map(exporter.getFinishedSpans().map((span) => [span.name, span]))
  const publish = spans.get('kafka.publish OrderCreated')
  const consumed = spans.get('kafka.consume OrderCreated')
  const handled = spans.get('handle invoice')
  expect([publish?.kind, consumed?.kind, handled?.kind]).toEqual([
    SpanKind.PRODUCER,
    SpanKind.CONSUMER,
    SpanKind.INTERNAL,
  ])
  expect(consumed?.parentSpanContext?.spanId).toBe(publish?.spanContext().spanId)
  expect(handled?.parentSpanContext?.spanId).toBe(consumed?.spanContext().spanId)
})

it('goes on with the trace that another program wrote into the headers', async () => {
  const exporter = startSdk()
  const topicPrefix = freshName()
  const bus = createBus({ topicPrefix })
  bus.subscribe(OrderCreated, () => undefined)
  await consume(bus)
  const event = orderCreated()
  const headers = new Map([
    [Buffer.from('event_type'), Buffer.from('OrderCreated')],
    [Buffer.from('traceparent'), Buffer.from('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01')],
  ])

  const message = { topic: `${topicPrefix}.stream`, value: Buffer.from(JSON.stringify(event)), headers }
  await produce(inject('kafkaBootstrapServers'), [message])

  await until('the span', () =>
    exporter.getFinishedSpans().some(({ name }) => name.startsWith('kafka.consume')),
  )
  const consumed = exporter.getFinishedSpans().find(({ name }) => name === 'kafka.consume OrderCreated')
  expect(consumed?.spanContext().traceId).toBe('0af7651916cd43dd8448eb211c80319c')
  expect(consumed?.parentSpanContext?.spanId).toBe('b7ad6b7169203331')
})
