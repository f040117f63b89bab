import { expect, it, onTestFinished } from 'vitest'
import {
  BrokerEventBus,
  type BrokerOptions,
  brokerDefaults,
  ConfigError,
  InMemoryEventBus,
} from '../../src/index.ts'
import { MemoryBroker, MemoryBrokerEventBus } from '../../src/testing/index.ts'
import { OrderCreated, OrderShipped, orderCreated, orderShipped } from '../support/order-events.ts'
import { paced } from '../support/pace.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { waitFor } from '../support/wait-for.ts'

function brokerBus(broker: MemoryBroker, options: BrokerOptions = {}): MemoryBrokerEventBus {
  const bus = new MemoryBrokerEventBus({ broker, maxRetries: 0, logger: new RecordingLogger(), ...options })
  onTestFinished(() => bus.shutdown())
  return bus
}

async function consuming(bus: MemoryBrokerEventBus): Promise<MemoryBrokerEventBus> {
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  return bus
}

it('is up with every check up if all is well', async () => {
  const bus = await consuming(brokerBus(new MemoryBroker()))

  expect(await bus.health()).toEqual({
    status: 'up',
    checks: {
      connected: { status: 'up' },
      consuming: { status: 'up' },
      publishing: { status: 'up' },
      lastError: { status: 'up', at: null },
      lag: { status: 'up', value: 0 },
      oldestUnsettledMs: { status: 'up', value: 0 },
      deadLetters: { status: 'up', value: 0 },
      waiting: { status: 'up', value: undefined },
      oldestWaitingMs: { status: 'up', value: undefined },
    },
  })
})

it('is down before the bus connects, during an outage and after a shutdown, and up otherwise', async () => {
  const broker = new MemoryBroker()
  const bus = brokerBus(broker)
  const statuses = async () => {
    const { status, checks } = await bus.health()
    return [status, checks.connected.status, checks.consuming.status]
  }

  expect(await statuses()).toEqual(['down', 'down', 'up'])
  await consuming(bus)
  expect(await statuses()).toEqual(['up', 'up', 'up'])
  broker.goDown()
  expect(await statuses()).toEqual(['down', 'down', 'down'])
  broker.comeUp()
  await waitFor(async () => (await bus.health()).status === 'up')
  await bus.shutdown()
  expect((await bus.health()).checks.connected).toEqual({ status: 'down', detail: 'shut down' })
})

it('is down while a bus that should consume cannot start', async () => {
  const broker = new MemoryBroker()
  broker.goDown()
  const bus = brokerBus(broker)

  bus.startConsumingInBackground()

  expect((await bus.health()).checks.consuming.status).toBe('down')
})

it('is up for a bus that only publishes', async () => {
  const bus = brokerBus(new MemoryBroker())
  await bus.connect()

  const { status, checks } = await bus.health()

  expect([status, checks.consuming.detail]).toEqual(['up', 'not started'])
})

it('measures lag, age and dead letters, which degrade it beyond the limits given', async () => {
  const bus = brokerBus(new MemoryBroker(), { maxInFlight: 1 })
  const gate = Promise.withResolvers<void>()
  bus.subscribe(OrderShipped, () => {
    throw new Error('out of paper')
  })
  bus.subscribe(OrderCreated, () => gate.promise)
  await consuming(bus)
  await bus.publish([orderShipped('Order-0')])
  await waitFor(() => bus.getStats().messagesSentToDlq === 1)
  await bus.publish([1, 2, 3].map((n) => orderCreated(`Order-${n}`)))
  await waitFor(async () => ((await bus.health()).checks.oldestUnsettledMs.value ?? 0) >= 2)

  const health = await bus.health()
  const strict = await bus.health({ maxLag: 1, maxUnsettledMs: 1, maxDeadLetters: 0 })
  gate.resolve()

  expect(health).toMatchObject({ status: 'up', checks: { lag: { value: 2 }, deadLetters: { value: 1 } } })
  expect(health.checks.lastError).toMatchObject({ status: 'up', at: expect.any(Date) })
  expect(health.checks.lastError.detail).toBe('Error: out of paper')
  expect(strict).toMatchObject({
    status: 'degraded',
    checks: {
      lag: { status: 'degraded', value: 2, detail: '2 messages wait, more than 1' },
      oldestUnsettledMs: { status: 'degraded' },
      deadLetters: { status: 'degraded', detail: '1 dead letter waits, more than 0' },
    },
  })
})

/** A bus whose broker hangs with its connections open. */
class HungBus extends BrokerEventBus {
  constructor() {
    const never = () => new Promise<never>(() => undefined)
    const done = () => Promise.resolve()
    super(brokerDefaults, () => ({
      system: 'hung',
      destination: 'nowhere',
      deadLetters: {
        ...{ list: never, get: never, count: never, replay: never, remove: never },
        ...{ sweep: never, append: never },
      },
      connect: done,
      publish: never,
      consume: never,
      lag: never,
      close: done,
    }))
  }
}

it('answers in time and is down if the broker does not answer', async () => {
  const bus = new HungBus()
  await bus.connect()

  const start = performance.now()
  const { status, checks } = await bus.health({ timeoutMs: 20 })

  expect(performance.now() - start).toBeLessThan(paced(1000))
  expect(status).toBe('down')
  expect(checks.connected.detail).toBe('the broker does not answer')
  expect(checks.lag).toEqual({ status: 'degraded', value: undefined, detail: 'no answer within 20 ms' })
})

it('is available in memory, too', async () => {
  const bus = new InMemoryEventBus({ logger: new RecordingLogger() })
  let during: Awaited<ReturnType<typeof bus.health>> | undefined
  bus.subscribe(OrderCreated, async () => {
    during = await bus.health()
    throw new Error('out of paper')
  })

  await bus.publish([orderCreated()])
  const after = await bus.health()
  await bus.shutdown()

  expect(during).toMatchObject({ status: 'up', checks: { oldestUnsettledMs: { value: expect.any(Number) } } })
  expect(after.status).toBe('up')
  expect(after.checks.lastError.detail).toBe('Error: out of paper')
  expect((await bus.health()).status).toBe('down')
})

it('rejects invalid limits', async () => {
  await expect(new InMemoryEventBus().health({ maxLag: -1 })).rejects.toThrow(ConfigError)
})
