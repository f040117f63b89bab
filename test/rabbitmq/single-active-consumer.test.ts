import { expect, it } from 'vitest'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { consume, createBus, freshName, plainChannel, until } from './scene.ts'

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
