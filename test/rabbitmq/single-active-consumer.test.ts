import { describe, expect, it } from 'vitest'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { paced } from '../support/pace.ts'
import { consume, createBus, freshName, plainChannel, proxiedBus, recorder, until } from './scene.ts'

it('is turned on for a group by the steps in docs/rabbitmq.md without losing an event or the order', async () => {
  const exchangeName = freshName()
  const publisher = createBus({ exchangeName })
  const handled: string[] = []
  const handle = ({ eventId }: OrderCreated): void => void handled.push(eventId)
  const worker = (
    consumerGroup: string,
    singleActiveConsumer: boolean,
    handler: (event: OrderCreated) => unknown = handle,
  ) => {
    const bus = createBus({ exchangeName, consumerGroup, singleActiveConsumer })
    bus.subscribe(OrderCreated, handler, { name: 'invoice' })
    return bus
  }
  const published: string[] = []
  const publish = async (count: number) => {
    const events = Array.from({ length: count }, () => orderCreated('Order-1'))
    published.push(...events.map(({ eventId }) => eventId))
    await publisher.publish(events)
  }
  const old = worker('billing', false)
  await consume(old)
  await publish(20)

  // 1. The new group's queue exists and collects.
  const creator = worker('billing-2', true, () => new Promise(() => undefined))
  await consume(creator)
  await publish(20)
  await creator.shutdown({ timeoutMs: 1 })
  // 2. The old queue gets no further events.
  const channel = await plainChannel()
  await channel.unbindQueue(`${exchangeName}.billing`, exchangeName, '#')
  await publish(20)
  // 3. The old group handles what it has, and goes.
  await until('an empty queue', async () => (await old.getQueueInfo()).messageCount === 0)
  await old.shutdown()
  await channel.deleteQueue(`${exchangeName}.billing`, { ifEmpty: true })
  // 4. The new group starts.
  await consume(worker('billing-2', true))

  await until('all events', () => new Set(handled).size === published.length)
  const firsts = [...new Set(handled)]
  expect(firsts).toEqual(published)
})

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
