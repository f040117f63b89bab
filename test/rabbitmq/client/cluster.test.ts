import { setTimeout as delay } from 'node:timers/promises'
import { beforeAll, expect, it } from 'vitest'
import { PublishError, type RabbitMQEventBus } from '../../../src/index.ts'
import { MessageRefusedError } from '../../../src/transport/index.ts'
import type { Broker } from '../../brokers/broker.ts'
import { launchRabbitMQCluster } from '../../brokers/rabbitmq-cluster.ts'
import { OrderCreated, orderCreated } from '../../support/order-events.ts'
import { type OrderedRun, orderFaults } from '../../support/order-judge.ts'
import { consume, createBus, freshName, noticesOf, until } from '../scene.ts'

async function publishOnceElected(bus: RabbitMQEventBus, events: readonly OrderCreated[]): Promise<void> {
  for (;;) {
    const error = await bus.publish(events).catch((thrown: unknown) => thrown)
    if (error === undefined) return
    const isRefused =
      error instanceof PublishError &&
      error.outcomes.every((outcome) => outcome.error instanceof MessageRefusedError)
    if (!isRefused) throw error
    await delay(50)
  }
}

/** Publishes each event until the broker confirms it: queues refuse messages while they elect their leaders. */
async function publishSurely(bus: RabbitMQEventBus, events: readonly OrderCreated[]): Promise<void> {
  const publishing = events.map(async (event) => {
    while (
      !(await bus.publish([event]).then(
        () => true,
        () => false,
      ))
    )
      await delay(50)
  })
  await Promise.all(publishing)
}

/** Two workers that share the partitions of a group; the first one can connect to any of the given nodes. */
async function partitionedGroup(urls: readonly string[], lasting: string) {
  const common = { exchangeName: freshName(), queueType: 'quorum', publishTimeoutMs: 20_000 } as const
  const runs: (OrderedRun & { readonly worker: string })[] = []
  const worker = async (name: string, rabbitmqUrl: readonly string[]) => {
    const bus = createBus({ ...common, rabbitmqUrl, partitions: 4, reconnectDelayMs: 50 })
    bus.subscribe(OrderCreated, async ({ aggregateId, customerId }) => {
      runs.push({ aggregateId, n: Number(customerId), worker: name })
      await delay(2)
    })
    await consume(bus)
  }
  await worker('first', urls)
  await worker('second', [lasting])
  const publisher = createBus({ ...common, rabbitmqUrl: lasting, reconnectDelayMs: 50 })
  let rounds = 0
  const publish = async (more: number) => {
    for (const last = rounds + more; rounds < last; rounds += 1) {
      const customerId = String(rounds)
      const ids = Array.from({ length: 20 }, (_, index) => `Order-${index}`)
      await publishSurely(
        publisher,
        ids.map((aggregateId) => new OrderCreated({ aggregateId, customerId })),
      )
    }
  }
  const distinct = () => new Set(runs.map(({ aggregateId, n }) => `${aggregateId} ${n}`)).size
  const workers = (from: number) => new Set(runs.slice(from).map(({ worker: of }) => of)).size
  return { runs, publish, workers, isDone: () => distinct() === 20 * rounds }
}

let victim: Broker
let other: Broker

beforeAll(async () => {
  const nodes = await launchRabbitMQCluster(3)
  const [, second, third] = nodes
  if (second === undefined || third === undefined) throw new Error('the cluster is too small')
  victim = second
  other = third
  return () => Promise.all(nodes.map((node) => node.dispose()))
})

it('continues to consume from a quorum queue and from partitions when the node it is connected to dies', async () => {
  const bus = createBus({
    exchangeName: freshName(),
    rabbitmqUrl: [victim.url, other.url],
    queueType: 'quorum',
    reconnectDelayMs: 50,
    publishTimeoutMs: 20_000,
    maxRetries: 2,
    retryBaseDelayMs: 200,
    retryMaxDelayMs: 200,
  })
  const notices = noticesOf(bus)
  const attempts = new Map<string, number>()
  const gate = Promise.withResolvers<void>()
  bus.subscribe(OrderCreated, async ({ aggregateId }) => {
    attempts.set(aggregateId, (attempts.get(aggregateId) ?? 0) + 1)
    if (aggregateId === 'early') await gate.promise
    if (aggregateId.startsWith('bad')) throw new Error('expected failure')
  })
  await consume(bus)
  const ordered = await partitionedGroup([victim.url, other.url], other.url)
  while (ordered.workers(0) < 2) await ordered.publish(2)
  // The second attempt is marked in a queue on the node that dies.
  await bus.publish([orderCreated('early'), orderCreated('bad-early')])
  await until('the second attempt', () => (attempts.get('bad-early') ?? 0) >= 2)

  const meanwhile = ordered.publish(10)
  await victim.kill()

  await until('the reconnection', () => notices.some(({ type }) => type === 'reconnected'), 25_000)
  gate.resolve()
  // The queue refuses messages while it elects the leader that replaces the dead one.
  await publishOnceElected(bus, [orderCreated('late'), orderCreated('bad-late')])
  await until('the late event', () => attempts.has('late'), 25_000)
  await until('the last attempt', () => attempts.get('bad-late') === 3)
  // The dead letter queue is on the dead node: its two events wait unacknowledged, and no others do.
  await until('all but the dead letters', () => bus.getStats().inFlight === 2)
  expect(bus.getStats()).toMatchObject({ messagesSentToDlq: 0, reconnections: 1 })
  expect((await bus.health()).checks).toMatchObject({
    connected: { status: 'up' },
    consuming: { status: 'up' },
  })

  await meanwhile
  const handledBefore = ordered.runs.length
  while (ordered.workers(handledBefore) < 2) await ordered.publish(2)
  await until('the events of all partitions', ordered.isDone)
  expect(orderFaults(ordered.runs)).toEqual([])

  await victim.start()
  await until('the dead letters', () => bus.getStats().messagesSentToDlq === 2, 25_000)
  expect(await bus.getDlqMessageCount()).toBe(2)
  expect((await bus.getQueueInfo()).messageCount).toBe(0)
})

it('publishes to a quorum queue whose leader dies, also on connections that publish to it for the first time', async () => {
  const common = { exchangeName: freshName(), queueType: 'quorum', publishTimeoutMs: 20_000 } as const
  const consumer = createBus({ ...common, rabbitmqUrl: [victim.url, other.url], reconnectDelayMs: 50 })
  const handled = new Set<string>()
  consumer.subscribe(OrderCreated, ({ aggregateId }) => {
    handled.add(aggregateId)
  })
  await consume(consumer)
  const publishers = Array.from({ length: 5 }, () => createBus({ ...common, rabbitmqUrl: other.url }))
  await Promise.all(publishers.map((publisher) => publisher.connect()))

  await victim.kill()
  // Some of them publish before the queue has a new leader: the election takes about a tenth of a second.
  const published = publishers.map(async (publisher, index) => {
    await delay(20 * index)
    await publishOnceElected(publisher, [orderCreated(`first-${index}`)])
  })

  await until('the events of all connections', () => handled.size === publishers.length, 25_000)
  await Promise.all(published)
  await victim.start()
})
