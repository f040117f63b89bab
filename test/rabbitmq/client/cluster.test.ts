import { setTimeout as delay } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { PublishError, type RabbitMQEventBus } from '../../../src/index.ts'
import { MessageRefusedError } from '../../../src/transport/index.ts'
import { launchRabbitMQCluster } from '../../brokers/rabbitmq-cluster.ts'
import { OrderCreated, orderCreated } from '../../support/order-events.ts'
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

it('continues to consume from a quorum queue when the node it is connected to dies', async () => {
  const nodes = await launchRabbitMQCluster(3)
  onTestFinished(async () => {
    await Promise.all(nodes.map((node) => node.dispose()))
  })
  const [, victim, other] = nodes
  if (victim === undefined || other === undefined) throw new Error('the cluster is too small')
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
  // The second attempt is marked in a queue on the node that dies.
  await bus.publish([orderCreated('early'), orderCreated('bad-early')])
  await until('the second attempt', () => (attempts.get('bad-early') ?? 0) >= 2)

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

  await victim.start()
  await until('the dead letters', () => bus.getStats().messagesSentToDlq === 2, 25_000)
  expect(await bus.getDlqMessageCount()).toBe(2)
  expect((await bus.getQueueInfo()).messageCount).toBe(0)
})
