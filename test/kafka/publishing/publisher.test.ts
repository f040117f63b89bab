import { expect, inject, it, onTestFinished, vi } from 'vitest'
import { ConnectionError, PublishError } from '../../../src/index.ts'
import { OrderCreated, orderCreated } from '../../support/order-events.ts'
import { paced } from '../../support/pace.ts'
import { administer } from '../plain-kafka.ts'
import { consume, createBus, freshName, recorder, startProxy, until } from '../scene.ts'

const idsOf = (events: readonly { readonly eventId: string }[]) => events.map(({ eventId }) => eventId)

const orders = (count: number, aggregates = 10) =>
  Array.from({ length: count }, (_, n) => orderCreated(`Order-${n % aggregates}`))

async function failureOf(publish: Promise<void>): Promise<PublishError> {
  const error = await publish.catch((thrown: unknown) => thrown)
  if (!(error instanceof PublishError)) throw new Error(`expected a PublishError, got ${String(error)}`)
  return error
}

it.each(['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const)(
  'publishes and consumes with compression %s, with acks 0, 1 and all',
  async (compressionType) => {
    const topicPrefix = freshName()
    const consumer = createBus({ topicPrefix })
    const seen = recorder(consumer)
    await consume(consumer)
    const events = orders(30)

    for (const [index, acks] of (['0', '1', 'all'] as const).entries()) {
      const bus = createBus({ topicPrefix, compressionType, acks })
      await bus.publish(events.slice(index * 10, index * 10 + 10))
    }

    await until(
      () => `30 events, saw ${seen.length}`,
      () => seen.length === 30,
    )
    expect(new Set(idsOf(seen))).toEqual(new Set(idsOf(events)))
  },
)

it('compresses: a repetitive event takes a fraction of its size', async () => {
  const sizes = new Map<string, number>()
  for (const compressionType of ['none', 'gzip'] as const) {
    const proxy = await startProxy()
    const bus = createBus({ bootstrapServers: `127.0.0.1:${proxy.port}`, compressionType })
    await bus.publish([new OrderCreated({ aggregateId: 'Order-1', customerId: 'c'.repeat(50_000) })])
    sizes.set(compressionType, proxy.produced[0] ?? 0)
  }
  expect(sizes.get('none')).toBeGreaterThan(50_000)
  expect(sizes.get('gzip')).toBeLessThan(2000)
})

it('sends concurrent publishes together, in order per aggregate', async () => {
  const proxy = await startProxy()
  const topicPrefix = freshName()
  const bus = createBus({
    bootstrapServers: `127.0.0.1:${proxy.port}`,
    topicPrefix,
    batchSizeBytes: 1_000_000,
  })
  const consumer = createBus({ topicPrefix })
  const seen = recorder(consumer)
  await consume(consumer)
  await bus.connect()
  const events = orders(1000)

  await Promise.all(events.map((event) => bus.publish([event])))

  expect(proxy.produced.length).toBeLessThanOrEqual(20)
  await until(
    () => `1000 events, saw ${seen.length}`,
    () => seen.length === 1000,
  )
  const inOrder = (list: readonly { readonly aggregateId: string; readonly eventId: string }[]) =>
    Object.fromEntries(
      [...Map.groupBy(list, ({ aggregateId }) => aggregateId)].map(([id, of]) => [id, idsOf(of)]),
    )
  expect(inOrder(seen)).toEqual(inOrder(events))
})

it('sends at most about batchSizeBytes of single events in one request', async () => {
  const proxy = await startProxy()
  const bus = createBus({
    bootstrapServers: `127.0.0.1:${proxy.port}`,
    topicPartitions: 1,
    compressionType: 'none',
    batchSizeBytes: 5000,
  })
  await bus.connect()

  await Promise.all(orders(100).map((event) => bus.publish([event])))

  expect(Math.max(...proxy.produced)).toBeLessThan(7000)
  expect(proxy.produced.length).toBeGreaterThanOrEqual(10)
})

it('waits up to lingerMs while more events keep coming, and sends a single event at once', async () => {
  const firsts = new Map<number, number>()
  for (const lingerMs of [0, 10_000]) {
    const proxy = await startProxy()
    const bus = createBus({
      bootstrapServers: `127.0.0.1:${proxy.port}`,
      lingerMs,
      batchSizeBytes: 1_000_000,
    })
    // A single publish first. It obtains all that a request needs.
    await bus.publish([orderCreated()])
    // A broker that has just created the topic may refuse the first request, which is sent again.
    const single = proxy.produced.length
    const publishes: Promise<void>[] = []
    for (let turn = 0; turn < 1000; turn += 1) {
      publishes.push(bus.publish([orderCreated()]))
      await new Promise((resolve) => setImmediate(resolve))
    }
    await Promise.all(publishes)
    firsts.set(lingerMs, proxy.produced[single] ?? 0)
  }
  // The first request of the burst.
  expect(firsts.get(10_000)).toBeGreaterThan(4 * (firsts.get(0) ?? Number.POSITIVE_INFINITY))
})

it('refuses an event over maxMessageBytes before it is sent, and stores the others of the call', async () => {
  const proxy = await startProxy()
  // The proxy counts what is produced, so the bus does not report itself.
  const bus = createBus({
    bootstrapServers: `127.0.0.1:${proxy.port}`,
    maxMessageBytes: 2000,
    presenceIntervalMs: Number.POSITIVE_INFINITY,
  })
  const seen = recorder(bus)
  await consume(bus)
  const large = new OrderCreated({ aggregateId: 'Order-2', customerId: 'c'.repeat(2000) })

  const alone = await failureOf(bus.publish([large]))
  expect(proxy.produced).toEqual([])
  const error = await failureOf(bus.publish([orderCreated('Order-1'), large, orderCreated('Order-2')]))

  expect(alone.outcomes.map(({ status }) => status)).toEqual(['notStored'])
  expect(alone.retryable).toBe(false)
  expect(error.outcomes.map(({ status }) => status)).toEqual(['stored', 'notStored', 'stored'])
  expect(error.outcomes[1]?.error).toMatchObject({ code: 'MESSAGE_REFUSED' })
  expect(String(error.outcomes[1]?.error)).toMatch(/\d+ bytes.*2000 of maxMessageBytes/)
  await until('the other two', () => seen.length === 2)
})

it('reports as not stored exactly the event that is too large for the broker', async () => {
  const topicPrefix = freshName()
  await administer(inject('kafkaBootstrapServers'), (admin) =>
    admin.createTopics({
      topics: [`${topicPrefix}.stream`],
      partitions: 3,
      replicas: 1,
      configs: [{ name: 'max.message.bytes', value: '3000' }],
    }),
  )
  const bus = createBus({ topicPrefix, compressionType: 'none', batchSizeBytes: 100_000 })
  const seen = recorder(bus)
  await consume(bus)
  const events = orders(40)
  const large = new OrderCreated({ aggregateId: 'Order-3', customerId: 'c'.repeat(4000) })

  const error = await failureOf(bus.publish([...events.slice(0, 20), large, ...events.slice(20)]))

  expect(error.outcomes.map(({ status }) => status)).toEqual(
    Array.from({ length: 41 }, (_, n) => (n === 20 ? 'notStored' : 'stored')),
  )
  expect(error.outcomes[20]?.error).toMatchObject({ code: 'MESSAGE_REFUSED' })
  await until(
    () => `40 events, saw ${seen.length}`,
    () => seen.length === 40,
  )
  expect(bus.getStats().eventsPublished).toBe(40)
})

it('stores an event once that it sends again after a lost answer', async () => {
  const proxy = await startProxy()
  const topicPrefix = freshName()
  const bus = createBus({ bootstrapServers: `127.0.0.1:${proxy.port}`, topicPrefix })
  const consumer = createBus({ topicPrefix })
  const seen = recorder(consumer)
  await consume(consumer)
  await bus.connect()
  const events = orders(50)
  proxy.loseConfirmations(true)
  const publish = bus.publish(events)
  await until('the request', () => proxy.produced.length > 0)
  await until('the events', () => seen.length === 50)

  proxy.loseConfirmations(false)
  proxy.cut()
  await publish
  const mark = orderCreated()
  await bus.publish([mark])

  await until('the mark', () => idsOf(seen).includes(mark.eventId))
  expect(seen).toHaveLength(51)
})

it('reports events as unknown if their answer was lost and they were sent without idempotence', async () => {
  const proxy = await startProxy()
  const bus = createBus({
    bootstrapServers: `127.0.0.1:${proxy.port}`,
    idempotent: false,
    topicPartitions: 1,
  })
  await bus.connect()
  proxy.loseConfirmations(true)
  const publish = failureOf(bus.publish(orders(3)))
  await until('the request', () => proxy.produced.length > 0)

  proxy.loseConfirmations(false)
  proxy.cut()

  expect((await publish).outcomes.map(({ status }) => status)).toEqual(['unknown', 'unknown', 'unknown'])
})

it('names the cause, and what to check, if the clock of its host is ahead of the broker', async () => {
  const topicPrefix = freshName()
  // The default of Kafka 4; before, the default is unlimited.
  const limit = { name: 'message.timestamp.after.max.ms', value: '3600000' }
  await administer(inject('kafkaBootstrapServers'), (admin) =>
    admin.createTopics({ topics: [`${topicPrefix}.stream`], partitions: 1, replicas: 1, configs: [limit] }),
  )
  const bus = createBus({ topicPrefix })
  await bus.connect()
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 7_200_000 })
  onTestFinished(() => {
    vi.useRealTimers()
  })

  const error = await bus.publish([orderCreated()]).catch((thrown: unknown) => thrown)

  expect(error).toMatchObject({ retryable: false, outcomes: [{ status: 'notStored' }] })
  expect(String(error)).toMatch(/INVALID_TIMESTAMP, .*message\.timestamp\.after\.max\.ms.*clock of this host/)
  // The broker's own message.
  expect(String(error)).toMatch(/\(.*[Tt]imestamp .* out of range.*\)/)
})

it('creates the topic with topicPartitions partitions', async () => {
  const bus = createBus({ topicPartitions: 5, replicationFactor: 1 })

  await bus.publish([orderCreated()])

  expect(await bus.getTopicInfo()).toMatchObject({ partitions: 5, connected: true, consuming: false })
})

it('reports at once that a topic is missing if it must not create one', async () => {
  const topicPrefix = freshName()
  const bus = createBus({ topicPrefix, createTopics: false, publishTimeoutMs: paced(10_000) })

  const start = performance.now()
  const error = await failureOf(bus.publish([orderCreated()]))
  const onConnect = await bus.connect().catch((thrown: unknown) => thrown)

  expect(performance.now() - start).toBeLessThan(paced(5000))
  for (const cause of [error.outcomes[0]?.error, onConnect]) {
    expect(cause).toBeInstanceOf(ConnectionError)
    expect(String(cause)).toContain(`no topic ${topicPrefix}.stream`)
    expect(String(cause)).toContain('createTopics')
  }
})

it('reports at once that a topic cannot be created with its options', async () => {
  const bus = createBus({ replicationFactor: 3 })

  const error = await bus.connect().catch((thrown: unknown) => thrown)

  expect(error).toBeInstanceOf(ConnectionError)
  expect(String(error)).toMatch(/INVALID_REPLICATION_FACTOR/)
})

it('creates and joins no group while it only publishes', async () => {
  const consumerGroup = freshName()
  const bus = createBus({ consumerGroup })

  await bus.publish(orders(10))
  await bus.deadLetters.count()

  const groups = await administer(inject('kafkaBootstrapServers'), (admin) => admin.listGroups())
  expect([...groups.keys()]).not.toContain(consumerGroup)
})

it('spreads the aggregates over partitions that are added while it only publishes', async () => {
  const topicPrefix = freshName()
  const bus = createBus({ topicPrefix, topicPartitions: 1, metadataMaxAgeMs: 200 })
  await bus.publish([orderCreated()])
  await administer(inject('kafkaBootstrapServers'), (admin) =>
    admin.createPartitions({ topics: [{ name: `${topicPrefix}.stream`, count: 4, assignments: null }] }),
  )
  const consumer = createBus({ topicPrefix })
  const partitions = new Set<string>()
  consumer.subscribe(OrderCreated, (_event, { messageId }) => {
    partitions.add(messageId?.split('-').at(-2) ?? '')
  })
  await consume(consumer)

  await until('events in all partitions', async () => {
    await bus.publish(Array.from({ length: 20 }, (_, n) => orderCreated(`Order-${n}`)))
    return partitions.size === 4
  })
})

it('recreates a topic that is deleted while it publishes without acknowledgments', async () => {
  const topicPrefix = freshName()
  const bus = createBus({ topicPrefix, acks: '0' })
  await bus.publish([orderCreated()])
  await administer(inject('kafkaBootstrapServers'), (admin) =>
    admin.deleteTopics({ topics: [`${topicPrefix}.stream`] }),
  )
  const consumer = createBus({ topicPrefix })
  const seen = recorder(consumer)

  await until('an event of the new topic', async () => {
    await bus.publish([orderCreated()])
    if (!consumer.isConsuming) await consume(consumer)
    return seen.length > 0
  })
})

it('stores 100,000 events that are published at once, each by a call of its own, in order', async () => {
  const topicPrefix = freshName()
  const bus = createBus({ topicPrefix, publishTimeoutMs: paced(10_000) })
  await bus.publish([orderCreated('first')])
  const events = Array.from({ length: 100_000 }, (_, index) => orderCreated(`a${index % 50}`))
  const outcomes = await Promise.allSettled(events.map((event) => bus.publish([event])))
  expect(outcomes.filter(({ status }) => status === 'rejected')).toEqual([])
  expect(bus.getStats().eventsPublished).toBe(100_001)
})
