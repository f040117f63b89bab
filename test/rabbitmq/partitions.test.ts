import { expect, it } from 'vitest'
import type { RabbitMQEventBusOptions } from '../../src/rabbitmq/index.ts'
import { OrderCreated } from '../support/order-events.ts'
import { type OrderedRun, orderFaults } from '../support/order-judge.ts'
import { consume, createBus, freshName, noticesOf, plainChannel, proxiedBus, until } from './scene.ts'

const PARTITIONS = 8

/** A group with partitions: its workers, and what they have handled, in the order in which the handlers started. */
function group(options: RabbitMQEventBusOptions = {}) {
  const all = { exchangeName: freshName(), consumerGroup: 'billing', partitions: PARTITIONS, ...options }
  const publisher = createBus({ exchangeName: all.exchangeName })
  const runs: (OrderedRun & { readonly worker: string })[] = []
  const counts = new Map<string, number>()
  const subscribe = (bus: ReturnType<typeof createBus>, worker: string) => {
    bus.subscribe(OrderCreated, async ({ aggregateId, customerId }) => {
      runs.push({ aggregateId, n: Number(customerId), worker })
      await new Promise((resolve) => setTimeout(resolve, 1))
    })
    return bus
  }
  const worker = (name: string) => consume(subscribe(createBus({ ...all, consumerName: name }), name))
  /** Publishes rounds of one event for each of 100 aggregates. */
  const publish = async (rounds: number) => {
    for (let round = 0; round < rounds; round += 1) {
      const events = Array.from({ length: 100 }, (_, index) => {
        const aggregateId = `Order-${index}`
        const n = counts.get(aggregateId) ?? 0
        counts.set(aggregateId, n + 1)
        return new OrderCreated({ aggregateId, customerId: String(n) })
      })
      await publisher.publish(events)
    }
  }
  const distinct = () => new Set(runs.map(({ aggregateId, n }) => `${aggregateId} ${n}`)).size
  const published = () => [...counts.values()].reduce((sum, count) => sum + count, 0)
  const handleAll = () => until('all events', () => distinct() === published())
  return { all, publisher, runs, worker, subscribe, publish, handleAll }
}

/** How many consumers the queue of each partition has. */
async function consumerCounts(bus: ReturnType<typeof createBus>): Promise<readonly number[]> {
  const { partitions = [] } = await bus.getQueueInfo()
  return partitions.map(({ consumerCount }) => consumerCount)
}

it.each(['classic', 'quorum'] as const)(
  'keeps the order of each aggregate while workers come, go and lose their connections, on %s queues',
  async (queueType) => {
    const { all, runs, worker, subscribe, publish, handleAll } = group({ queueType })
    const publishUntilWorking = async (name: string) => {
      const working = until(`${name} to work`, () => runs.some((run) => run.worker === name)).then(() => true)
      while (!(await Promise.race([working, publish(4)])));
    }
    const first = await worker('first')
    await publishUntilWorking('first')
    const second = await worker('second')
    await publishUntilWorking('second')
    const { bus: third, proxy } = await proxiedBus({ ...all, consumerName: 'third' })
    await consume(subscribe(third, 'third'))
    await publishUntilWorking('third')
    const more = publish(10)
    proxy.cut()
    await first.shutdown()
    await worker('fourth')
    await second.shutdown()
    await publishUntilWorking('fourth')
    await more
    await handleAll()

    expect(orderFaults(runs)).toEqual([])
  },
)

it('shares the partitions evenly, and leaves one consumer and one on standby for each', async () => {
  const { all, runs, worker, publish, handleAll } = group()
  for (const name of ['a', 'b', 'c', 'd']) await worker(name)
  const operator = createBus(all)
  await until('an owner and a standby for each', async () =>
    (await consumerCounts(operator)).every((count) => count === 2),
  )
  expect((await operator.getQueueInfo()).consumerCount).toBe(4)
  await publish(20)
  await handleAll()

  const shares = [...Map.groupBy(runs, ({ worker: of }) => of).values()].map((of) => of.length)
  expect(shares).toHaveLength(4)
  expect(Math.max(...shares)).toBeLessThan(2 * Math.min(...shares))
  expect(orderFaults(runs)).toEqual([])
})

it('refuses another number of partitions, none, and another ordering for the same group', async () => {
  const { all, worker } = group()
  await worker('first')
  for (const other of [{ partitions: 4 }, { partitions: 1 }, { ordering: 'none' }] as const) {
    const bus = createBus({ ...all, ...other })
    await expect(bus.startConsuming()).rejects.toMatchObject({ code: 'TOPOLOGY_CONFLICT' })
  }
})

it('refuses a consumer without order for a group with one active consumer', async () => {
  const exchangeName = freshName()
  await consume(createBus({ exchangeName, ordering: 'aggregate' }))
  const other = createBus({ exchangeName, ordering: 'none' })
  await expect(other.startConsuming()).rejects.toMatchObject({ code: 'TOPOLOGY_CONFLICT' })
})

it('gives a message that is sent to the name of the group to its partition', async () => {
  const { all, runs, worker, handleAll, publish } = group()
  await worker('first')
  await publish(1)
  await handleAll()
  const channel = await plainChannel()
  const event = new OrderCreated({ aggregateId: 'Order-7', customerId: '1' })
  channel.publish('', `${all.exchangeName}.billing`, Buffer.from(JSON.stringify(event)), {
    headers: { aggregate_id: 'Order-7', event_type: 'OrderCreated', aggregate_type: 'Order' },
  })
  await until('the message', () => runs.some(({ aggregateId, n }) => aggregateId === 'Order-7' && n === 1))
})

it.each(['while a worker runs', 'while none runs'])(
  'gives each aggregate to the same partition as before when the queue of one was deleted %s',
  async (when) => {
    const { all, publisher, publish } = group()
    const channel = await plainChannel()
    const queues = Array.from(
      { length: PARTITIONS },
      (_, n) => `${all.exchangeName}.billing.partition-00${n}`,
    )
    /** The partition of each aggregate. */
    const distribution = async () => {
      await publish(1)
      const found: string[] = []
      for (const queue of queues)
        for (let message = await channel.get(queue, { noAck: true }); message !== false; ) {
          found.push(`${message.properties.headers?.['aggregate_id']} in ${queue}`)
          message = await channel.get(queue, { noAck: true })
        }
      return found.toSorted()
    }
    const worker = async () => {
      const bus = createBus(all)
      const notices = noticesOf(bus)
      return { bus: await consume(bus), notices }
    }
    await publisher.connect()
    const first = await worker()
    await first.bus.shutdown()
    const before = await distribution()
    expect(before).toHaveLength(100)

    const isRunning = when === 'while a worker runs'
    const early = isRunning ? await worker() : undefined
    await channel.deleteQueue(queues[2] ?? '')
    const { bus, notices } = early ?? (await worker())
    await until('the loss to be reported', () => notices.some(({ type }) => type === 'topologyRestored'))
    await bus.shutdown()

    expect(notices).toContainEqual({
      type: 'eventsLost',
      detail: expect.stringMatching(/partition-002 was deleted.* may be handled out of order/),
      count: undefined,
    })
    expect(await distribution()).toEqual(before)
  },
)
