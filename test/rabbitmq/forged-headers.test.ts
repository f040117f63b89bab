import { expect, it } from 'vitest'
import { JsonCodec } from '../../src/index.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { consume, createBus, freshName, plainChannel, until } from './scene.ts'

/** What a replay writes, and what quorum queues write, as any producer can write it. */
const FORGED = {
  event_type: 'OrderCreated',
  replay_handlers: '{"handlers":["first"],"settled":["second"]}',
  'x-delivery-count': 7,
  'x-acquired-count': 7,
}

/** A bus with two handlers, and the delivery counts that they saw. */
async function listeningBus() {
  const exchangeName = freshName()
  const bus = createBus({ exchangeName, consumerGroup: 'g' })
  const seen: (readonly [handler: string, deliveryCount: number])[] = []
  for (const name of ['first', 'second']) {
    bus.subscribe(OrderCreated, (_event, { deliveryCount }) => void seen.push([name, deliveryCount]), {
      name,
    })
  }
  await consume(bus)
  return { exchangeName, queue: `${exchangeName}.g`, bus, seen }
}

it('has no effect on a message that is published to the exchange', async () => {
  const { exchangeName, seen, bus } = await listeningBus()
  const channel = await plainChannel()

  const content = Buffer.from(new JsonCodec().encode(orderCreated()).body)
  channel.publish(exchangeName, 'Order.OrderCreated', content, { headers: FORGED, messageId: 'm' })

  await until('both handlers to run', () => seen.length === 2)
  expect(seen).toEqual([
    ['first', 1],
    ['second', 1],
  ])
  expect(bus.getStats().messagesSentToDlq).toBe(0)
})

it('has no effect on a message that the broker dead-letters to the queue', async () => {
  const { queue, seen } = await listeningBus()
  const channel = await plainChannel()
  const delayQueue = freshName()
  await channel.assertQueue(delayQueue, {
    autoDelete: true,
    expires: 60_000,
    arguments: { 'x-message-ttl': 1, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': queue },
  })

  channel.sendToQueue(delayQueue, Buffer.from(new JsonCodec().encode(orderCreated()).body), {
    headers: FORGED,
  })

  await until('both handlers to run', () => seen.length === 2)
  expect(seen.map(([name]) => name)).toEqual(['first', 'second'])
})

it('does not give a message the settled handlers of another message with the same id', async () => {
  const exchangeName = freshName()
  const channel = await plainChannel()
  const publish = (aggregateId: string) => {
    const content = Buffer.from(new JsonCodec().encode(orderCreated(aggregateId)).body)
    channel.publish(exchangeName, 'Order.OrderCreated', content, { messageId: 'same' })
  }
  const failing = createBus({ exchangeName, consumerGroup: 'g', maxRetries: 9, retryBaseDelayMs: 60_000 })
  let failures = 0
  const failFor = (failingId: string) => (event: OrderCreated) => {
    if (event.aggregateId !== failingId) return
    failures += 1
    throw new Error('no')
  }
  failing.subscribe(OrderCreated, failFor('Order-1'), { name: 'first' })
  failing.subscribe(OrderCreated, failFor('Order-2'), { name: 'second' })
  await consume(failing)
  publish('Order-1')
  publish('Order-2')
  await until('one failure of each', () => failures === 2)
  await failing.shutdown()

  const heir = createBus({ exchangeName, consumerGroup: 'g' })
  const inherited: string[] = []
  for (const name of ['first', 'second']) {
    heir.subscribe(OrderCreated, ({ aggregateId }) => void inherited.push(`${name} ${aggregateId}`), { name })
  }
  await consume(heir)
  await until('both messages', () => inherited.length === 2)
  expect(inherited.toSorted()).toEqual(['first Order-1', 'second Order-2'])
})

it('dead-letters a message whose headers are nested a thousand levels deep, and handles the next', async () => {
  const { exchangeName, bus, seen } = await listeningBus()
  const channel = await plainChannel()
  let deep: object = { end: true }
  for (let level = 0; level < 1000; level += 1) deep = { d: deep }
  const publish = (headers: object) => {
    const content = Buffer.from(new JsonCodec().encode(orderCreated()).body)
    channel.publish(exchangeName, 'Order.OrderCreated', content, { headers })
  }

  publish({ event_type: 'OrderCreated', deep })
  publish({ event_type: 'OrderCreated' })

  await until('the dead letter', () => bus.getStats().messagesSentToDlq === 1)
  await until('the next message', () => seen.length === 2)
  const { deadLetters } = await bus.deadLetters.list()
  expect(deadLetters).toMatchObject([{ reason: 'deserialization_error', errorName: 'MessageRefusedError' }])
})
