import { expect, it } from 'vitest'
import { ReturnedMessages } from '../../../src/rabbitmq/publishing/returned-messages.ts'

function returned(routingKey: string, messageId: string) {
  const fields = { deliveryTag: 0, redelivered: false, exchange: 'events', routingKey }
  return { fields, properties: { messageId }, content: Buffer.alloc(0) }
}

function sent(routingKey: string, messageId: string) {
  return { exchange: 'events', routingKey, properties: { messageId }, content: Buffer.alloc(0) }
}

it('finds a message as often as it was returned', () => {
  const messages = new ReturnedMessages()
  messages.add(returned('Order.OrderCreated', '1'))
  messages.add(returned('Order.OrderCreated', '1'))

  const finds = [1, 2, 3].map(() => messages.take(sent('Order.OrderCreated', '1')))

  expect(finds).toEqual([true, true, false])
})

it('distinguishes messages by routing key and id', () => {
  const messages = new ReturnedMessages()
  messages.add(returned('Order.OrderCreated', '1'))

  expect(messages.take(sent('Order.OrderShipped', '1'))).toBe(false)
  expect(messages.take(sent('Order.OrderCreated', '2'))).toBe(false)
  expect(messages.take(sent('Order.OrderCreated', '1'))).toBe(true)
})

it('forgets the returned messages of a connection that is closed', () => {
  const messages = new ReturnedMessages()
  messages.add(returned('Order.OrderCreated', '1'))

  messages.clear()

  expect(messages.take(sent('Order.OrderCreated', '1'))).toBe(false)
})
