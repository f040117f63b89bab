import { expect, it, onTestFinished } from 'vitest'
import {
  type DomainEvent,
  InMemoryCheckpointStore,
  InMemoryEventStore,
  InMemorySubscriptionDeadLetterStore,
  SubscriptionManager,
} from '../../src/index.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { createBus, freshName, plainChannel, until } from './scene.ts'

const quick = { retryBaseDelayMs: 5, retryMaxDelayMs: 50, pollIntervalMs: 20 }

/** A store with these events, and a manager that ends with the test. */
async function relayScene(events: readonly DomainEvent[]) {
  const store = new InMemoryEventStore()
  const deadLetters = new InMemorySubscriptionDeadLetterStore()
  for (const event of events) {
    const { aggregateId, aggregateType } = event
    await store.appendEvents({ aggregateId, aggregateType, events: [event], expectedVersion: 'any' })
  }
  const manager = new SubscriptionManager({
    eventStore: store,
    checkpoints: new InMemoryCheckpointStore(),
    deadLetters,
    logger: new RecordingLogger(),
  })
  onTestFinished(async () => void (await manager.stop({ timeoutMs: 1000 })))
  return { manager, deadLetters }
}

const unpublishable = () =>
  new OrderCreated({ aggregateId: 'Order-2', customerId: 'c', eventId: 'x'.repeat(300) })

async function queueOf(exchangeName: string, options: Readonly<Record<string, unknown>> = {}) {
  const channel = await plainChannel()
  const { queue } = await channel.assertQueue('', { exclusive: true, arguments: options })
  await channel.bindQueue(queue, exchangeName, '#')
  return {
    count: async () => (await channel.checkQueue(queue)).messageCount,
    empty: () => channel.purgeQueue(queue),
  }
}

it('parks only the event that the protocol cannot carry, and publishes the others', async () => {
  const exchangeName = freshName()
  const bus = createBus({ exchangeName })
  await bus.connect()
  const queue = await queueOf(exchangeName)
  const { manager, deadLetters } = await relayScene([
    orderCreated('Order-1'),
    unpublishable(),
    orderCreated('Order-3'),
  ])
  manager.relay(bus, { name: 'outbox', ...quick, onFailure: 'deadLetter' })
  manager.start()
  await manager.whenCaughtUp('outbox')

  expect(await deadLetters.list()).toMatchObject([
    {
      position: 2,
      errorName: 'PublishError',
      errorMessage: expect.stringContaining('event id'),
      attempts: 1,
    },
  ])
  // The first publish of the batch stored the two others, and only what was not confirmed is repeated.
  await until('each other message once', async () => (await queue.count()) === 2)
})

it('stops before such an event by default, with health down and the reason', async () => {
  const bus = createBus()
  const { manager } = await relayScene([unpublishable()])
  manager.relay(bus, { name: 'outbox', ...quick })
  manager.start()

  await expect(manager.whenCaughtUp('outbox')).rejects.toMatchObject({
    code: 'SUBSCRIPTION_FAILED',
    message: expect.stringContaining('the event id has more than 255 bytes'),
  })
  expect((await manager.health()).status).toBe('down')
})

it('waits for room in a full queue as long as it takes, and parks nothing', async () => {
  const exchangeName = freshName()
  const bus = createBus({ exchangeName })
  await bus.connect()
  const queue = await queueOf(exchangeName, { 'x-max-length': 1, 'x-overflow': 'reject-publish' })
  const { manager, deadLetters } = await relayScene([orderCreated('Order-1'), orderCreated('Order-2')])
  manager.relay(bus, { name: 'outbox', ...quick, onFailure: 'deadLetter', batchSize: 1 })
  manager.start()
  await until('some attempts', async () => ((await manager.status())['outbox']?.handlerErrors ?? 0) > 3)
  expect(await manager.health()).toMatchObject({
    status: 'degraded',
    subscriptions: { outbox: { lastError: { message: expect.stringContaining('nack') } } },
  })

  await queue.empty()
  await manager.whenCaughtUp('outbox')
  expect(await deadLetters.list()).toEqual([])
})
