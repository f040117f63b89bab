import { expect, it, onTestFinished } from 'vitest'
import { InMemoryStores, SubscriptionManager } from '../../src/index.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { consume, createBus, freshName, recorder, until } from './scene.ts'

it('parks only the event that is larger than maxMessageBytes, and publishes the others', async () => {
  const topicPrefix = freshName()
  const bus = createBus({ topicPrefix, maxMessageBytes: 2000 })
  const seen = recorder(bus)
  await consume(bus)
  const stores = new InMemoryStores()
  const large = new OrderCreated({ aggregateId: 'Order-2', customerId: 'c'.repeat(2000) })
  for (const event of [orderCreated('Order-1'), large, orderCreated('Order-3')]) {
    const { aggregateId, aggregateType } = event
    await stores.events.appendEvents({ aggregateId, aggregateType, events: [event], expectedVersion: 'any' })
  }
  const manager = new SubscriptionManager({
    eventStore: stores.events,
    checkpoints: stores.checkpoints,
    deadLetters: stores.deadLetters,
    logger: new RecordingLogger(),
  })
  onTestFinished(async () => void (await manager.stop({ timeoutMs: 1000 })))
  manager.relay(bus, { name: 'outbox', retryBaseDelayMs: 5, onFailure: 'deadLetter' })
  manager.start()
  await manager.whenCaughtUp('outbox')

  expect(await stores.deadLetters.list()).toMatchObject([{ position: 2, attempts: 1 }])
  await until('the others', () => new Set(seen.map(({ aggregateId }) => aggregateId)).size === 2)
})
