import { AggregationTemporality } from '@opentelemetry/sdk-metrics'
import { expect, it, onTestFinished } from 'vitest'
import { type BrokerOptions, InMemoryEventBus, JsonCodec } from '../../../src/index.ts'
import { MemoryBroker, MemoryBrokerEventBus } from '../../../src/testing/index.ts'
import { createMeterProvider, startMetrics, total } from '../../support/metrics.ts'
import {
  OrderCreated,
  OrderShipped,
  orderCancelled,
  orderCreated,
  orderShipped,
} from '../../support/order-events.ts'
import { RecordingLogger } from '../../support/recording-logger.ts'
import { waitFor } from '../../support/wait-for.ts'

const PLACE = { 'messaging.system': 'memory', 'messaging.destination.name': 'memory-broker' }
const GROUP = { ...PLACE, 'messaging.consumer.group.name': 'default' }

function brokerBus(options: BrokerOptions & { readonly broker?: MemoryBroker } = {}): MemoryBrokerEventBus {
  const bus = new MemoryBrokerEventBus({
    maxRetries: 1,
    retryBaseDelayMs: 1,
    publishTimeoutMs: 50,
    logger: new RecordingLogger(),
    ...options,
  })
  onTestFinished(() => bus.shutdown())
  return bus
}

/** Two events handled, one of them by a handler that fails to the end, and one of a type without handlers. */
async function eventfulBus(options?: BrokerOptions): Promise<MemoryBrokerEventBus> {
  const bus = brokerBus(options)
  bus.subscribe(OrderCreated, function fine() {})
  bus.subscribe(OrderShipped, function failing() {
    throw new RangeError('out of paper')
  })
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  await bus.publish([orderCreated(), orderShipped(), orderCancelled()])
  await waitFor(() => bus.getStats().eventsProcessedFailed + bus.getStats().eventsSkipped === 2)
  return bus
}

it('has the names and units of the conventions, and correct values', async () => {
  const read = startMetrics()
  await eventfulBus()

  const found = await read()

  const units = Object.fromEntries([...found].map(([name, { unit }]) => [name, unit]))
  expect(units).toEqual({
    'messaging.client.sent.messages': '{message}',
    'messaging.client.consumed.messages': '{message}',
    'messaging.client.operation.duration': 's',
    'messaging.process.duration': 's',
    'eventspine.handler.duration': 's',
    'eventspine.message.age': 's',
    'eventspine.messages.handled': '{message}',
    'eventspine.messages.retried': '{message}',
    'eventspine.messages.dead_lettered': '{message}',
    'eventspine.messages.skipped': '{message}',
    'eventspine.messages.in_flight': '{message}',
    'eventspine.consumer.lag': '{message}',
    'eventspine.consumer.paused': '1',
    'eventspine.handlers.paused': '{handler}',
    'eventspine.reconnections': '{reconnection}',
  })
  const points = (name: string) => found.get(name)?.points.map(({ attributes, value }) => [attributes, value])
  const created = { 'eventspine.event.type': 'OrderCreated' }
  const shipped = { 'eventspine.event.type': 'OrderShipped' }
  const send = { ...PLACE, 'messaging.operation.name': 'publish', 'messaging.operation.type': 'send' }
  expect(points('messaging.client.sent.messages')).toEqual([
    [{ ...send, ...created }, 1],
    [{ ...send, ...shipped }, 1],
    [{ ...send, 'eventspine.event.type': 'OrderCancelled' }, 1],
  ])
  expect(points('messaging.client.consumed.messages')).toEqual([
    [{ ...GROUP, ...created }, 1],
    [{ ...GROUP, ...shipped }, 1],
  ])
  const gone = { 'error.type': 'max_retries_exceeded' }
  expect(points('eventspine.messages.handled')).toEqual([
    [{ ...GROUP, ...created, 'eventspine.outcome': 'success' }, 1],
    [{ ...GROUP, ...shipped, ...gone, 'eventspine.outcome': 'dead_lettered' }, 1],
  ])
  expect(points('eventspine.messages.retried')).toEqual([[{ ...GROUP, ...shipped }, 1]])
  expect(points('eventspine.messages.dead_lettered')).toEqual([[{ ...GROUP, ...shipped, ...gone }, 1]])
  expect(points('eventspine.messages.skipped')).toEqual([[GROUP, 1]])
  expect(points('eventspine.messages.in_flight')).toEqual([[GROUP, 0]])
  expect(points('eventspine.consumer.lag')).toEqual([[GROUP, 0]])
  expect(points('eventspine.reconnections')).toEqual([[GROUP, 0]])
  expect(points('messaging.client.operation.duration')).toEqual([
    [send, expect.objectContaining({ count: 1, sum: expect.closeTo(0, 0) })],
  ])
  expect(points('eventspine.handler.duration')).toEqual([
    [
      { ...GROUP, ...created, 'eventspine.handler.name': 'fine', 'eventspine.outcome': 'success' },
      expect.objectContaining({ count: 1 }),
    ],
    [
      {
        ...GROUP,
        ...shipped,
        'eventspine.handler.name': 'failing',
        'eventspine.outcome': 'failure',
        'error.type': 'RangeError',
      },
      expect.objectContaining({ count: 2 }),
    ],
  ])
  for (const name of ['messaging.process.duration', 'eventspine.message.age']) {
    expect(total(found.get(name)), name).toBe(2)
  }
})

it('measures the age since the event occurred, in seconds', async () => {
  const read = startMetrics()
  const bus = new InMemoryEventBus()
  bus.subscribe(OrderCreated, () => undefined)
  const anHourAgo = new Date(Date.now() - 3_600_000)

  await bus.publish([new OrderCreated({ aggregateId: 'Order-1', customerId: 'c', occurredAt: anHourAgo })])

  const [point] = (await read()).get('eventspine.message.age')?.points ?? []
  expect(point?.value).toMatchObject({ sum: expect.closeTo(3600, 0) })
})

it('also counts in memory, with failures by outcome', async () => {
  const read = startMetrics()
  const bus = new InMemoryEventBus({ logger: new RecordingLogger() })
  bus.subscribe(OrderCreated, async () => undefined)
  bus.subscribe(OrderShipped, function failing() {
    throw new Error('out of paper')
  })
  let inFlight: number | undefined
  bus.subscribe(OrderShipped, async () => {
    inFlight = total((await read()).get('eventspine.messages.in_flight'))
  })

  await bus.publish([orderCreated(), orderShipped()])

  const found = await read()
  const outcomes = (name: string) =>
    ['success', 'failure'].map((outcome) => total(found.get(name), { 'eventspine.outcome': outcome }))
  expect(outcomes('eventspine.messages.handled')).toEqual([1, 1])
  expect(outcomes('eventspine.handler.duration')).toEqual([2, 1])
  expect(total(found.get('messaging.client.sent.messages'))).toBe(2)
  expect(inFlight).toBe(1)
  expect(found.has('eventspine.consumer.lag')).toBe(false)
})

it('reports waiting and running messages, and failed publishes', async () => {
  const read = startMetrics()
  const broker = new MemoryBroker()
  const bus = brokerBus({ broker, maxInFlight: 2 })
  const { promise, resolve } = Promise.withResolvers<void>()
  bus.subscribe(OrderCreated, () => promise)
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  await bus.publish(Array.from({ length: 5 }, () => orderCreated()))
  await waitFor(() => bus.getStats().inFlight === 2)

  const busy = await read()
  resolve()
  await waitFor(() => bus.getStats().eventsProcessedSuccess === 5)
  broker.goDown()
  await expect(bus.publish([orderCreated()])).rejects.toThrow()
  broker.comeUp()
  const after = await read()

  expect(total(busy.get('eventspine.messages.in_flight'))).toBe(2)
  expect(total(busy.get('eventspine.consumer.lag'))).toBe(3)
  expect(total(after.get('eventspine.consumer.lag'))).toBe(0)
  expect(total(after.get('eventspine.reconnections'))).toBe(1)
  expect(total(after.get('messaging.client.sent.messages'), { 'error.type': 'PUBLISH_TIMEOUT' })).toBe(1)
  expect(total(after.get('messaging.client.operation.duration'), { 'error.type': 'PUBLISH_TIMEOUT' })).toBe(1)
})

it('reports whether an operator has paused the group of a bus that consumes', async () => {
  const read = startMetrics()
  const broker = new MemoryBroker()
  const bus = brokerBus({ broker })
  const paused = async () => (await read()).get('eventspine.consumer.paused')?.points
  expect(await paused()).toBeUndefined()
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  expect(await paused()).toMatchObject([{ attributes: GROUP, value: 0 }])

  await bus.admin.pause('default', { waitMs: 10_000 })
  expect(await paused()).toMatchObject([{ value: 1 }])
  await bus.admin.resume('default')
  await waitFor(async () => (await paused())?.[0]?.value === 0)
})

it('reports events that wait long for a handler, and health says how many and how old are too many', async () => {
  const read = startMetrics()
  const startedAt = Date.now()
  const bus = brokerBus()
  const policy = {
    name: 'waits',
    retryDelaysMs: [60_000],
    longWaits: { fromMs: 1, order: 'giveUp' },
  } as const
  bus.subscribe(OrderCreated, () => Promise.reject(new Error('planned')), policy)
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  await bus.publish([orderCreated(), orderCreated()])
  await waitFor(() => bus.getStats().eventsPostponed === 2)

  expect(total((await read()).get('eventspine.messages.waiting'))).toBe(2)
  expect((await bus.health()).checks.waiting).toEqual({ status: 'up', value: 2 })
  const detail = '2 events wait for a later attempt, more than 1'
  expect((await bus.health({ maxWaiting: 1 })).checks.waiting).toEqual({
    status: 'degraded',
    value: 2,
    detail,
  })
  const ageS = total((await read()).get('eventspine.messages.oldest_waiting'))
  expect(ageS).toBeGreaterThan(0)
  expect(ageS).toBeLessThanOrEqual((Date.now() - startedAt) / 1000)
  const { oldestWaitingMs } = (await bus.health({ maxWaitingMs: 1 })).checks
  expect(oldestWaitingMs).toMatchObject({
    status: 'degraded',
    detail: `${oldestWaitingMs.value} ms since the first failure of an event that waits, more than 1`,
  })
})

it('records neither event types from the wire nor messages of errors', async () => {
  const read = startMetrics()
  const broker = new MemoryBroker()
  const bus = brokerBus({ broker })
  bus.subscribeToAllEvents(() => undefined)
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  const { body } = new JsonCodec().encode(orderCreated())
  for (let n = 0; n < 50; n += 1) {
    const named = String(body).replace('"OrderCreated"', `"Invented${n}"`)
    broker.publishRaw({ headers: { event_type: `Invented${n}` }, body: named })
    broker.publishRaw({ headers: { event_type: `Broken${n}` }, body: `{ ${n}` })
  }
  await waitFor(() => bus.getStats().eventsProcessedFailed + bus.getStats().eventsProcessedSuccess === 100)

  const { points = [] } = (await read()).get('eventspine.messages.handled') ?? {}

  expect(points.map(({ attributes, value }) => [attributes, value])).toEqual([
    [{ ...GROUP, 'eventspine.event.type': '_OTHER', 'eventspine.outcome': 'success' }, 50],
    [{ ...GROUP, 'eventspine.outcome': 'dead_lettered', 'error.type': 'deserialization_error' }, 50],
  ])
})

it('starts when an SDK is registered, even if the bus exists already', async () => {
  const bus = await eventfulBus()
  const read = startMetrics()

  await bus.publish([orderCreated()])
  await waitFor(() => bus.getStats().eventsProcessedSuccess === 2)
  const found = await read()

  expect(total(found.get('messaging.client.sent.messages'))).toBe(1)
  expect(found.get('eventspine.messages.in_flight')?.points).toHaveLength(1)
})

it('uses the given meter', async () => {
  const global = startMetrics()
  const { provider, read } = createMeterProvider()

  await eventfulBus({ meter: provider.getMeter('mine') })

  expect(total((await read()).get('messaging.client.sent.messages'))).toBe(3)
  expect((await global()).size).toBe(0)
})

it('enableMetrics: false records nothing', async () => {
  const read = startMetrics()

  await eventfulBus({ enableMetrics: false })

  expect((await read()).size).toBe(0)
})

it('reports two buses of one group in one process as one, and keeps its counts when one is shut down', async () => {
  const read = startMetrics()
  const broker = new MemoryBroker()
  const [first, second] = [brokerBus({ broker, maxInFlight: 1 }), brokerBus({ broker, maxInFlight: 1 })]
  const stuck = Promise.withResolvers<void>()
  for (const bus of [first, second]) {
    bus.subscribe(OrderCreated, () => stuck.promise)
    bus.startConsumingInBackground()
    await bus.whenConsuming()
  }
  await first.publish([orderCreated('Order-1'), orderCreated('Order-2'), orderShipped()])
  await waitFor(() => first.getStats().inFlight + second.getStats().inFlight === 2)

  const both = await read()
  stuck.resolve()
  await waitFor(() => first.getStats().eventsSkipped + second.getStats().eventsSkipped === 1)
  await first.shutdown()
  const one = await read()

  const points = (found: typeof both, name: string) => found.get(`eventspine.${name}`)?.points ?? []
  expect(points(both, 'messages.in_flight').map(({ value }) => value)).toEqual([2])
  expect(points(one, 'messages.in_flight').map(({ value }) => value)).toEqual([0])
  expect(points(one, 'messages.skipped').map(({ value }) => value)).toEqual([1])
  expect(points(one, 'consumer.lag')).toHaveLength(1)
})

it('does not observe a bus that was shut down', async () => {
  const { provider, read } = createMeterProvider(AggregationTemporality.DELTA)
  const bus = await eventfulBus({ meter: provider.getMeter('mine') })
  const observed = async () => {
    const found = await read()
    const names = ['messages.in_flight', 'messages.skipped', 'consumer.lag', 'reconnections']
    return names.map((name) => found.get(`eventspine.${name}`)?.points.length ?? 0)
  }

  const before = await observed()
  await bus.shutdown()
  const after = await observed()

  expect(before).toEqual([1, 1, 1, 1])
  expect(after).toEqual([0, 0, 0, 0])
})
