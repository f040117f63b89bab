import { expect, it, vi } from 'vitest'
import { SettledMessages } from '../../../src/rabbitmq/consuming/settled-messages.ts'

function message(exchange: string, content = 'x') {
  const fields = { deliveryTag: 1, redelivered: true, exchange, routingKey: 'Order.OrderCreated' }
  return { fields, properties: { messageId: '1' }, content: Buffer.from(content) }
}

it('finds a message once', () => {
  const settled = new SettledMessages()
  settled.add(message('events'))

  expect(settled.take(message('events'))).toBe(true)
  expect(settled.take(message('events'))).toBe(false)
})

it('does not mistake a replay, or another message with the same id, for a message', () => {
  const settled = new SettledMessages()
  settled.add(message('events'))

  expect(settled.take(message(''))).toBe(false)
  expect(settled.take(message('events', 'another'))).toBe(false)
  expect(settled.take({ ...message('events'), properties: {} })).toBe(false)
})

it('forgets a message after ten minutes', () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  try {
    const settled = new SettledMessages()
    settled.add(message('events'))
    vi.advanceTimersByTime(600_000)

    expect(settled.take(message('events'))).toBe(false)
  } finally {
    vi.useRealTimers()
  }
})
