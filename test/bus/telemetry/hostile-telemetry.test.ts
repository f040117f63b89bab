import { context, propagation } from '@opentelemetry/api'
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from '@opentelemetry/core'
import { expect, it, onTestFinished } from 'vitest'
import {
  type BrokerOptions,
  GenericEvent,
  InMemoryStores,
  JsonCodec,
  SubscriptionManager,
} from '../../../src/index.ts'
import { MemoryBroker, MemoryBrokerEventBus } from '../../../src/testing/index.ts'
import { OrderCreated, orderCreated, orderShipped } from '../../support/order-events.ts'
import { RecordingLogger } from '../../support/recording-logger.ts'
import { startTracing } from '../../support/telemetry.ts'
import { waitFor } from '../../support/wait-for.ts'

const BAGGAGE = 'userId=admin'
const TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

/** A bus whose handler publishes, and what was active in the handler. */
async function relayingBus(options: BrokerOptions) {
  const exporter = startTracing()
  propagation.disable()
  propagation.setGlobalPropagator(
    new CompositePropagator({
      propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()],
    }),
  )
  const broker = new MemoryBroker()
  const bus = new MemoryBrokerEventBus({ broker, logger: new RecordingLogger(), ...options })
  onTestFinished(() => bus.shutdown())
  const seen: (string | undefined)[] = []
  const sent: (string | undefined)[] = []
  bus.subscribe(OrderCreated, async () => {
    seen.push(propagation.getBaggage(context.active())?.getEntry('userId')?.value)
    await bus.publish([orderShipped()])
    const headers = broker.take('observer', 'test')?.headers
    sent.push(headers?.['baggage'])
  })
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  const { headers, body, key } = new JsonCodec().encode(orderCreated())
  broker.publishRaw({ key, headers: { ...headers, traceparent: TRACE, baggage: BAGGAGE }, body })
  // The first message of the log is the one above.
  broker.ensureGroup('observer')
  broker.take('observer', 'test')
  await waitFor(() => sent.length === 1)
  return { exporter, seen, sent }
}

it('neither activates the baggage of a message nor passes it on', async () => {
  const { exporter, seen, sent } = await relayingBus({})

  expect([seen, sent]).toEqual([[undefined], [undefined]])
  // The trace itself continues.
  expect(exporter.getFinishedSpans().at(0)?.spanContext().traceId).toBe(TRACE.split('-')[1])
})

it('propagateBaggage activates it and passes it on', async () => {
  const { seen, sent } = await relayingBus({ propagateBaggage: true })

  expect([seen, sent]).toEqual([['admin'], [BAGGAGE]])
})

it('names no span after an event type without a class, and shortens attributes from messages', async () => {
  const exporter = startTracing()
  const logger = new RecordingLogger()
  const broker = new MemoryBroker()
  const bus = new MemoryBrokerEventBus({ broker, logger, maxRetries: 0 })
  onTestFinished(() => bus.shutdown())
  bus.subscribeToAllEvents(
    () => {
      throw new Error('no')
    },
    { name: 'all' },
  )
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  const long = 'x'.repeat(4096)
  const { headers, body, key } = new JsonCodec().encode(orderCreated())
  const fields = { ...JSON.parse(String(body)), event_type: long, aggregate_id: long, event_id: long }

  broker.publishRaw({ key, headers: { ...headers, event_type: long }, body: JSON.stringify(fields) })
  await waitFor(() => bus.getStats().messagesSentToDlq === 1)

  const spans = exporter.getFinishedSpans()
  expect(spans.map(({ name }) => name)).toContain('memory.consume _OTHER')
  for (const { name, attributes } of spans) {
    for (const text of [name, ...Object.values(attributes)]) expect(String(text).length).toBeLessThan(300)
  }
  expect(JSON.stringify(logger.lines).length).toBeLessThan(20_000)
})

it('names no span of a subscription after the type of a stored event without a class', async () => {
  const exporter = startTracing()
  const { events: eventStore, checkpoints } = new InMemoryStores()
  const long = 'x'.repeat(4096)
  const name = { aggregateId: long, aggregateType: 'Order' }
  const event = new GenericEvent({ ...name, eventType: long, eventId: long, data: {} })
  await eventStore.appendEvents({ ...name, events: [event], expectedVersion: 'any' })
  await using manager = new SubscriptionManager({ eventStore, checkpoints, logger: new RecordingLogger() })
  manager.subscribe({ name: 's', handle: () => undefined })
  manager.start()
  await manager.whenCaughtUp('s')

  const spans = exporter.getFinishedSpans()
  expect(spans.map(({ name }) => name)).toContain('s.process _OTHER')
  for (const { name, attributes } of spans) {
    for (const text of [name, ...Object.values(attributes)]) expect(String(text).length).toBeLessThan(300)
  }
})
