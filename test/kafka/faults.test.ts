import { setImmediate } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { PublishError } from '../../src/index.ts'
import type { KafkaEventBus } from '../../src/kafka/index.ts'
import { launchBroker } from '../brokers/launch-broker.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { paced } from '../support/pace.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { itWithEach, protocols } from './protocols.ts'
import { consume, createBus, freshName, noticesOf, recorder, until } from './scene.ts'

const idsOf = (events: readonly { readonly eventId: string }[]) => events.map(({ eventId }) => eventId)

it('loses no confirmed event when the broker is killed during 20,000 publishes and their consumption', async () => {
  const broker = await launchBroker('kafka')
  onTestFinished(() => broker.dispose())
  const options = { bootstrapServers: broker.url, topicPrefix: freshName(), publishTimeoutMs: 60_000 }
  const consumer = createBus(options)
  const runs = new Map<string, number>()
  const order = new Map<string, string[]>()
  consumer.subscribe(OrderCreated, ({ aggregateId, eventId }) => {
    if (!runs.has(eventId)) order.set(aggregateId, [...(order.get(aggregateId) ?? []), eventId])
    runs.set(eventId, (runs.get(eventId) ?? 0) + 1)
  })
  const notices = noticesOf(consumer)
  await consume(consumer)
  const publisher = createBus(options)
  const sent = new Map<string, string[]>()
  let restart: Promise<void> | undefined

  for (let from = 0; from < 20_000; from += 100) {
    if (from === 10_000) restart = broker.kill().then(() => broker.start())
    const events = Array.from({ length: 100 }, (_, n) => orderCreated(`Order-${n % 20}`))
    for (const { aggregateId, eventId } of events) {
      sent.set(aggregateId, [...(sent.get(aggregateId) ?? []), eventId])
    }
    await publisher.publish(events)
  }
  await restart
  await until(
    () => `20,000 events, saw ${runs.size}`,
    () => runs.size === 20_000,
    30_000,
  )

  expect(order).toEqual(sent)
  const repeats = [...runs.values()].reduce((sum, count) => sum + count - 1, 0)
  expect(repeats).toBeLessThanOrEqual(1000)
  expect(notices.map(({ type }) => type)).toEqual(['connectionLost', 'reconnected'])
  expect(consumer.getStats()).toMatchObject({ reconnections: 1, eventsProcessedFailed: 0, handlerErrors: 0 })
})

it('repeats and loses nothing during a storm of rebalances', async () => {
  const options = { topicPrefix: freshName(), consumerGroup: freshName(), topicPartitions: 6 }
  const handled: OrderCreated[] = []
  const create = () => {
    const bus = createBus(options)
    bus.subscribe(OrderCreated, async (event) => {
      await setImmediate()
      handled.push(event)
    })
    return bus
  }
  const resident = create()
  await consume(resident)
  const publisher = createBus(options)
  const sent: OrderCreated[] = []
  const phase = { isOver: false }
  const publishing = (async () => {
    while (!phase.isOver) {
      const events = Array.from({ length: 50 }, (_, n) => orderCreated(`Order-${n}`))
      sent.push(...events)
      await publisher.publish(events)
      await until('the consumers to keep up', () => sent.length - handled.length < 2000)
    }
  })()

  for (let guest = 0; guest < 12; guest += 1) {
    const bus = create()
    await consume(bus)
    const before = handled.length
    await until('progress', () => handled.length > before + 100)
    await bus.shutdown()
  }
  phase.isOver = true
  await publishing
  await until(
    () => `${sent.length} events, saw ${handled.length}`,
    () => handled.length >= sent.length,
  )

  const byAggregate = (events: readonly OrderCreated[]) =>
    new Map([...Map.groupBy(events, ({ aggregateId }) => aggregateId)].map(([id, of]) => [id, idsOf(of)]))
  expect(byAggregate(handled)).toEqual(byAggregate(sent))
  expect(resident.getStats().rebalanceCount).toBeGreaterThanOrEqual(12)
})

it('lets a running handler delay the handover of its partition for at most maxPollIntervalMs', async () => {
  const options = { topicPrefix: freshName(), consumerGroup: freshName(), topicPartitions: 2 }
  const slow = createBus({ ...options, maxPollIntervalMs: 1500, shutdownTimeoutMs: 500 })
  const begun: string[] = []
  const never = Promise.withResolvers<void>()
  slow.subscribe(OrderCreated, async ({ aggregateId }) => {
    begun.push(aggregateId)
    await never.promise
  })
  await consume(slow)
  await slow.publish(Array.from({ length: 10 }, (_, n) => orderCreated(`Order-${n}`)))
  await until('all handlers to hang', () => begun.length === 10)
  const other = createBus(options)
  const seen = recorder(other)

  const start = performance.now()
  await consume(other)
  await until('the other to get its part', () => seen.length > 0)

  expect(performance.now() - start).toBeGreaterThan(1000)
  expect(seen.length).toBeLessThan(10)
  never.resolve()
})

itWithEach(
  protocols,
  'passes a partition to another member while its events wait for a retry, with their failed attempts (%s)',
  async ({ groupProtocol }) => {
    const options = {
      topicPrefix: freshName(),
      consumerGroup: freshName(),
      topicPartitions: 2,
      groupProtocol,
    }
    const attempts: number[] = []
    const fails = (bus: KafkaEventBus) =>
      bus.subscribe(OrderCreated, (_event, { attempt }) => {
        attempts.push(attempt)
        throw new Error('as told')
      })
    const patient = { retryBaseDelayMs: 60_000, retryMaxDelayMs: 60_000 }
    const first = createBus({ ...options, ...patient })
    fails(first)
    await consume(first)
    await first.publish(Array.from({ length: 10 }, (_, n) => orderCreated(`Order-${n}`)))
    await until('all to have failed once', () => attempts.length === 10)
    const other = createBus({ ...options, ...patient })
    fails(other)

    const start = performance.now()
    await consume(other)
    await until('the other to get its part', () => attempts.length > 10)

    // A running handler may delay the handover for maxPollIntervalMs, which is five minutes.
    expect(performance.now() - start).toBeLessThan(paced(20_000))
    expect(attempts.slice(10).every((attempt) => attempt === 2)).toBe(true)
  },
)

itWithEach(
  protocols,
  'logs an error about another process with the same groupInstanceId, and yields to it (%s)',
  async ({ groupProtocol }) => {
    const logger = new RecordingLogger()
    const options = { topicPrefix: freshName(), consumerGroup: freshName(), groupProtocol }
    const first = createBus({ ...options, groupInstanceId: 'same', logger })
    recorder(first)
    await consume(first)

    const second = createBus({ ...options, groupInstanceId: 'same', logger })
    const seen = recorder(second)
    second.startConsumingInBackground()

    await until('the log line', () =>
      logger.lines.some(
        ({ fields }) =>
          String(fields['error']).includes('same groupInstanceId') ||
          String(fields['error']).includes('UNRELEASED_INSTANCE_ID'),
      ),
    )
    await first.shutdown()
    await until(
      'the second to work',
      async () => {
        await second.publish([orderCreated()])
        return seen.length > 0
      },
      20_000,
    )
    expect(logger.lines.length).toBeLessThan(30)
  },
)

it('reports at once that the brokers do not allow so short a session timeout', async () => {
  const bus = createBus({ sessionTimeoutMs: 1000, heartbeatIntervalMs: 100 })
  recorder(bus)

  bus.startConsumingInBackground()
  const error = await bus.whenConsuming().catch((thrown: unknown) => thrown)

  expect(error).toMatchObject({ code: 'TOPOLOGY_CONFLICT', retryable: false })
  expect(String(error)).toMatch(/INVALID_SESSION_TIMEOUT.*sessionTimeoutMs must be between/)
})

it('reports that other members of its group use another assignor, and joins when they have left', async () => {
  const options = { topicPrefix: freshName(), consumerGroup: freshName() }
  const first = createBus({ ...options, partitionAssignor: 'roundrobin' })
  recorder(first)
  await consume(first)
  const logger = new RecordingLogger()
  const second = createBus({ ...options, partitionAssignor: 'cooperative-sticky', logger })
  const seen = recorder(second)

  second.startConsumingInBackground()
  await until('the log line', () =>
    logger.lines.some(({ fields }) =>
      String(fields['error']).includes('same partitionAssignor and groupProtocol'),
    ),
  )
  expect((await second.health()).checks.consuming.status).toBe('down')
  await first.publish([orderCreated()])
  await first.shutdown()
  await second.publish([orderCreated()])

  await second.whenConsuming()
  await until('an event', () => seen.length > 0)
  expect(logger.lines.length).toBeLessThan(10)
})

it('rejects in time while the broker is frozen, and continues when it is back', async () => {
  const broker = await launchBroker('kafka')
  onTestFinished(() => broker.dispose())
  const bus = createBus({ bootstrapServers: broker.url, publishTimeoutMs: 1500, requestTimeoutMs: 1000 })
  const seen = recorder(bus)
  await consume(bus)
  await broker.freeze()

  const start = performance.now()
  const error = await bus.publish([orderCreated()]).catch((thrown: unknown) => thrown)
  const tookMs = performance.now() - start
  await broker.thaw()

  expect(error).toBeInstanceOf(PublishError)
  expect(tookMs).toBeLessThan(paced(2500))
  const event = orderCreated()
  await until('a publish', async () => {
    await bus.publish([event])
    return true
  })
  await until('the event', () => idsOf(seen).includes(event.eventId))
  expect(bus.getStats().reconnections).toBeGreaterThanOrEqual(1)
})
