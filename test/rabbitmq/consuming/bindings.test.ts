import { expect, it } from 'vitest'
import { OrderCreated, orderCreated, orderShipped } from '../../support/order-events.ts'
import {
  consume,
  createBus,
  freshName,
  noticesOf,
  plainChannel,
  proxiedBus,
  recorder,
  until,
} from '../scene.ts'

/** The keys that no queue is bound for, as the broker reports them to a plain client. */
async function unroutable(exchange: string, keys: readonly string[]): Promise<readonly string[]> {
  const channel = await plainChannel()
  const returned: string[] = []
  channel.on('return', ({ fields }) => returned.push(fields.routingKey))
  for (const key of keys) channel.publish(exchange, key, Buffer.from('{}'), { mandatory: true })
  await channel.waitForConfirms()
  return returned
}

it('makes every binding that is added while consuming starts', async () => {
  const exchangeName = freshName()
  const bus = createBus({ exchangeName, exchangeType: 'direct', routingKeyPattern: '' })
  const keys: string[] = []
  const bound: Promise<void>[] = []
  const channel = await plainChannel()
  bus.startConsumingInBackground()
  while (!bus.isConsuming && keys.length < 500) {
    keys.push(`key-${keys.length}`)
    bound.push(bus.bindRoutingKey(keys.at(-1) ?? ''))
    // Slower than the bus can bind, otherwise it would never catch up.
    for (let step = 0; step < 5; step += 1) await channel.checkExchange('amq.direct')
  }
  await Promise.all(bound)
  await bus.whenConsuming()

  expect(keys.length).toBeGreaterThan(5)
  expect(await unroutable(exchangeName, keys)).toEqual([])
})

it('applies the last of many quick changes', async () => {
  const exchangeName = freshName()
  const bus = createBus({ exchangeName, exchangeType: 'direct' })
  await consume(bus)
  const changes: Promise<void>[] = []
  for (let round = 0; round < 20; round += 1) {
    changes.push(bus.bindRoutingKey('wanted'), bus.bindRoutingKey('unwanted'))
    bus.subscribe(OrderCreated, () => undefined)
    changes.push(bus.unbindRoutingKey('wanted'), bus.unbindRoutingKey('unwanted'))
    bus.clearSubscribers()
    if (round % 3 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  bus.subscribe(OrderCreated, () => undefined)
  changes.push(bus.bindRoutingKey('wanted'))
  await Promise.all(changes)

  const keys = ['wanted', 'unwanted', 'Order.OrderCreated']
  expect(await unroutable(exchangeName, keys)).toEqual(['unwanted'])
})

it('accepts a binding while it does not consume, and makes it when it does', async () => {
  const exchangeName = freshName()
  const bus = createBus({ exchangeName, exchangeType: 'direct', routingKeyPattern: '' })
  await consume(bus)
  await bus.stopConsuming()
  await bus.bindEventType(OrderCreated)
  expect(await unroutable(exchangeName, ['Order.OrderCreated'])).toEqual(['Order.OrderCreated'])
  await consume(bus)
  expect(await unroutable(exchangeName, ['Order.OrderCreated'])).toEqual([])
})

it('accepts a binding during an outage, and makes it afterwards', async () => {
  const exchangeName = freshName()
  const options = {
    exchangeName,
    exchangeType: 'direct',
    routingKeyPattern: '',
    reconnectDelayMs: 50,
  } as const
  const { bus, proxy } = await proxiedBus(options)
  const events = recorder(bus)
  const notices = noticesOf(bus)
  await bus.bindEventType(OrderCreated)
  await consume(bus)
  proxy.setDown(true)
  await until('the loss', () => !bus.isConnected)
  await bus.bindRoutingKey('Order.OrderShipped')
  await bus.unbindEventType(OrderCreated)
  proxy.setDown(false)
  await until('the reconnection', () => notices.some(({ type }) => type === 'reconnected'))

  await bus.publish([orderCreated(), orderShipped()])
  await until('the event', () => events.length > 0)
  expect(events.map(({ eventType }) => eventType)).toEqual(['OrderShipped'])
  expect(bus.getStats().publishReturns).toBe(1)
})

it('binds an event type under the aggregate type of its class', async () => {
  const exchangeName = freshName()
  const bus = createBus({ exchangeName, exchangeType: 'direct', routingKeyPattern: '' })
  await bus.bindEventType({ aggregateType: 'Cart', eventType: 'CartOpened' })
  await consume(bus)
  expect(await unroutable(exchangeName, ['Cart.CartOpened', 'undefined.CartOpened'])).toEqual([
    'undefined.CartOpened',
  ])
})
