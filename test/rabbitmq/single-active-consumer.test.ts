import { describe, expect, it } from 'vitest'
import type { RabbitMQEventBusOptions } from '../../src/rabbitmq/index.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { paced } from '../support/pace.ts'
import { consume, createBus, freshName, plainChannel, proxiedBus, recorder, until } from './scene.ts'

it.each([
  ['one queue', {}, 'one with a single active consumer', { singleActiveConsumer: true }],
  ['2 partitions', { partitions: 2 }, '4 partitions', { partitions: 4 }],
])(
  'is moved from %s to %s by the steps in docs/rabbitmq.md without losing an event or the order',
  async (_from, oldSettings, _to, newSettings) => {
    const exchangeName = freshName()
    const publisher = createBus({ exchangeName })
    const handled: OrderCreated[] = []
    const worker = (
      options: RabbitMQEventBusOptions,
      handler: (event: OrderCreated) => unknown = (event) => void handled.push(event),
    ) => {
      const bus = createBus({ exchangeName, ...options })
      bus.subscribe(OrderCreated, handler, { name: 'invoice' })
      return consume(bus)
    }
    const published: OrderCreated[] = []
    const publish = async () => {
      const events = Array.from({ length: 20 }, (_, n) => orderCreated(`Order-${n % 4}`))
      published.push(...events)
      await publisher.publish(events)
    }
    const before = { consumerGroup: 'billing', ...oldSettings }
    const after = { consumerGroup: 'billing-2', ...newSettings }
    const old = await worker(before)
    await publish()

    // 1. The queues of the new group exist and collect.
    const creator = await worker(after, () => new Promise(() => undefined))
    await publish()
    await creator.shutdown({ timeoutMs: 1 })
    await publish()
    // 2. The old queues get no further events.
    await old.shutdown()
    await publish()
    const last = await worker({ ...before, routingKeyPattern: '' })
    await publish()
    // 3. The old group handles what it has, and goes.
    await until('empty queues', async () => (await last.getQueueInfo()).messageCount === 0)
    const { partitions = [] } = await last.getQueueInfo()
    await last.shutdown()
    const channel = await plainChannel()
    for (const { name } of partitions) await channel.deleteQueue(name, { ifEmpty: true })
    await channel.deleteQueue(`${exchangeName}.billing`, { ifEmpty: true })
    // 4. The new group starts.
    await worker(after)

    await until('all events', () => new Set(handled.map(({ eventId }) => eventId)).size === published.length)
    for (const [aggregateId, ofOne] of Map.groupBy(handled, (event) => event.aggregateId)) {
      const expected = published.filter((event) => event.aggregateId === aggregateId)
      expect([...new Set(ofOne.map(({ eventId }) => eventId))]).toEqual(
        expected.map(({ eventId }) => eventId),
      )
    }
  },
)

/** The first consumer of a queue, busy with one event of one aggregate, and a second one on standby. */
async function takeover(queueType: 'classic' | 'quorum') {
  const options = { exchangeName: freshName(), queueType, singleActiveConsumer: true }
  const publisher = createBus(options)
  const published: string[] = []
  const publish = async (count: number) => {
    const events = Array.from({ length: count }, () => orderCreated('Order-1'))
    published.push(...events.map(({ eventId }) => eventId))
    await publisher.publish(events)
  }
  const gate = Promise.withResolvers<void>()
  const { bus: active, proxy } = await proxiedBus(options)
  const started: string[] = []
  active.subscribe(OrderCreated, async ({ eventId }) => {
    started.push(eventId)
    await gate.promise
  })
  await consume(active)
  const standby = createBus(options)
  const seen = recorder(standby)
  await consume(standby)
  await publish(30)
  await until('the first event', () => started.length === 1)
  return { active, proxy, gate, started, seen, publish, published }
}

describe.each(['classic', 'quorum'] as const)('on a %s queue', (queueType) => {
  it('delivers to one consumer, then to the next one what the first returned when it stopped, before all later events', async () => {
    const { active, seen, publish, published } = await takeover(queueType)
    const stopping = active.shutdown({ timeoutMs: 400 })
    // Each publish makes the broker look for a consumer while the first one still holds messages.
    let isStopped = false
    void stopping.then(() => {
      isStopped = true
    })
    while (!isStopped) await publish(1)

    await until('all events', () => seen.length === published.length)
    expect(seen.map(({ eventId }) => eventId)).toEqual(published)
  })

  it('delivers nothing to the next consumer while a handler of a stopping one still runs', async () => {
    const { active, gate, started, seen, publish, published } = await takeover(queueType)
    const stopping = active.shutdown({ timeoutMs: paced(5000) })
    for (let count = 0; count < 10; count += 1) await publish(1)
    const early = seen.length
    gate.resolve()
    await stopping

    await until('all events', () => started.length + seen.length === published.length)
    expect(early).toBe(0)
    expect([...started, ...seen.map(({ eventId }) => eventId)]).toEqual(published)
  })

  it('delivers to the next consumer in order when the connection of the first one breaks', async () => {
    const { proxy, seen, publish, published } = await takeover(queueType)
    await publish(5)
    proxy.cut()

    await until('all events', () => seen.length === published.length)
    expect(seen.map(({ eventId }) => eventId)).toEqual(published)
  })
})
