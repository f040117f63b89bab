import { afterAll, expect, it } from 'vitest'
import { PublishError } from '../../../src/index.ts'
import { launchKafkaCluster } from '../../brokers/kafka-cluster.ts'
import { OrderCreated, orderCreated } from '../../support/order-events.ts'
import { paced } from '../../support/pace.ts'
import { administer } from '../plain-kafka.ts'
import { consume, createBus, freshName, until } from '../scene.ts'

const nodes = await launchKafkaCluster(3)
const bootstrapServers = nodes.map(({ url }) => url).join()

afterAll(async () => {
  await Promise.all(nodes.map((node) => node.dispose()))
})

it('loses nothing and keeps the order while each of three nodes is killed and restarted', async () => {
  const options = { bootstrapServers, topicPrefix: freshName(), topicPartitions: 6, publishTimeoutMs: 60_000 }
  const consumer = createBus(options)
  const firsts = new Map<string, string[]>()
  const runs = new Map<string, number>()
  consumer.subscribe(OrderCreated, ({ aggregateId, eventId }) => {
    if (!runs.has(eventId)) firsts.set(aggregateId, [...(firsts.get(aggregateId) ?? []), eventId])
    runs.set(eventId, (runs.get(eventId) ?? 0) + 1)
  })
  await consume(consumer)
  const publisher = createBus(options)
  const sent = new Map<string, string[]>()
  const phase = { isOver: false }
  const failures: unknown[] = []
  const publishing = (async () => {
    while (!phase.isOver) {
      const events = Array.from({ length: 50 }, (_, n) => orderCreated(`Order-${n}`))
      for (const { aggregateId, eventId } of events) {
        sent.set(aggregateId, [...(sent.get(aggregateId) ?? []), eventId])
      }
      await publisher.publish(events).catch((error: unknown) => failures.push(error))
    }
  })()
  const more = (count: number) => {
    const target = runs.size + count
    return until(
      () => `${target} events, saw ${runs.size}`,
      () => runs.size >= target,
      60_000,
    )
  }
  await more(1000)

  for (const node of nodes) {
    await node.kill()
    await more(1000)
    await node.start()
    await more(1000)
  }
  phase.isOver = true
  await publishing
  const total = [...sent.values()].flat().length
  await until(
    () => `all ${total} events, saw ${runs.size}`,
    () => runs.size === total,
    30_000,
  )

  expect(failures).toEqual([])
  expect(firsts).toEqual(sent)
  const repeats = [...runs.values()].reduce((sum, count) => sum + count - 1, 0)
  // At most the events in flight at each of the three faults.
  expect(repeats).toBeLessThanOrEqual(3 * 1000)
  expect(consumer.getStats()).toMatchObject({ eventsProcessedFailed: 0, handlerErrors: 0 })
})

it('publishes to the other partitions while one node is silent, and consumes them', async () => {
  const topicPrefix = freshName()
  const topic = `${topicPrefix}.stream`
  const configs = [{ name: 'min.insync.replicas', value: '1' }]
  await administer(nodes[0]?.url ?? '', (admin) =>
    admin.createTopics({ topics: [topic], partitions: 6, replicas: 1, configs }),
  )
  const options = {
    bootstrapServers,
    topicPrefix,
    requestTimeoutMs: paced(4000),
    publishTimeoutMs: paced(3000),
  }
  const consumer = createBus(options)
  const seen = new Set<string>()
  consumer.subscribe(OrderCreated, ({ eventId }) => {
    seen.add(eventId)
  })
  await consume(consumer)
  const publisher = createBus(options)
  const lanes = Array.from({ length: 30 }, (_, n) => `Order-${n}`)
  await publisher.publish(lanes.map((id) => orderCreated(id)))
  const [node] = nodes
  await node?.freeze()

  const attempt = async () => {
    const events = lanes.map((id) => orderCreated(id))
    const outcomes = await Promise.allSettled(events.map((event) => publisher.publish([event])))
    return events.filter((_, index) => outcomes[index]?.status === 'fulfilled')
  }
  const first = await attempt()
  const second = await attempt()
  // A group that starts now reads the partitions whose leader says where they start.
  const late = createBus({ ...options, consumerGroup: freshName() })
  const seenLate = new Set<string>()
  late.subscribe(OrderCreated, ({ eventId }) => {
    seenLate.add(eventId)
  })
  await consume(late)
  await until('the events of the other partitions', () => first.every(({ eventId }) => seenLate.has(eventId)))
  await node?.thaw()

  // The silent node leads a third of the partitions.
  expect(first.length).toBeGreaterThanOrEqual(10)
  expect(second.length).toBeGreaterThanOrEqual(10)
  expect(first.length).toBeLessThan(30)
  await until(
    'the confirmed events',
    () => [...first, ...second].every(({ eventId }) => seen.has(eventId)),
    30_000,
  )
  await until('all events for the late group', () => seenLate.size >= lanes.length + first.length, 30_000)
  expect(publisher.getStats().reconnections).toBe(0)
})

it('rejects in time while too few nodes are up, and continues when they are back', async () => {
  const options = { bootstrapServers, topicPrefix: freshName(), publishTimeoutMs: 2000 }
  const bus = createBus(options)
  const seen = new Set<string>()
  bus.subscribe(OrderCreated, ({ eventId }) => {
    seen.add(eventId)
  })
  await consume(bus)
  await bus.publish([orderCreated()])
  const [first, second] = nodes
  await first?.kill()
  await second?.kill()

  const start = performance.now()
  const error = await bus.publish([orderCreated()]).catch((thrown: unknown) => thrown)
  const tookMs = performance.now() - start
  await Promise.all([first?.start(), second?.start()])

  expect(error).toBeInstanceOf(PublishError)
  expect(tookMs).toBeLessThan(paced(4000))
  const event = orderCreated()
  await until(
    'a publish to succeed',
    async () => {
      await bus.publish([event])
      return true
    },
    60_000,
  )
  await until('the event', () => seen.has(event.eventId), 30_000)
})

it('finds partitions without a leader with diagnose, and names them', async () => {
  const topicPrefix = freshName()
  const [first] = nodes
  if (first === undefined) throw new Error('the cluster has no nodes')
  const others = nodes.slice(1).map(({ url }) => url)
  const options = { bootstrapServers: others.join(), topicPrefix, topicPartitions: 6, replicationFactor: 1 }
  await createBus({ ...options, acks: '1' }).publish([orderCreated()])
  const examine = async () => {
    for await (const finding of createBus(options).admin.diagnose()) {
      if (finding.check === 'kafka-topic') return finding
    }
    return undefined
  }
  expect((await examine())?.level).toBe('ok')
  await first.kill()

  await until('the missing leaders', async () => (await examine())?.level === 'fault', 30_000)
  expect(await examine()).toMatchObject({
    // Each node leads two of the six.
    text: expect.stringMatching(
      /^Partitions without a leader: \d, \d\. Their events can be neither published nor read\.$/,
    ),
    remedy: `Start the brokers that have their replicas: kafka-topics.sh --bootstrap-server ${others.join()} --describe --unavailable-partitions`,
  })
  await first.start()
  await until('the leaders', async () => (await examine())?.level === 'ok', 60_000)
})
