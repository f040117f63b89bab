import { expect, it } from 'vitest'
import { RabbitMQAcks } from '../../../src/rabbitmq/consuming/acks.ts'
import { type DeliveryOwner, RabbitMQDelivery } from '../../../src/rabbitmq/consuming/delivery.ts'

const owner: DeliveryOwner = {
  replayExchange: '',
  mayStart: () => true,
  settled: () => undefined,
  writeMark: () => Promise.resolve(),
  removeMark: () => undefined,
  publishDeadLetter: () => Promise.resolve(),
  postpone: () => Promise.resolve(),
  rememberSettled: () => undefined,
  takeSettled: () => false,
}

function receive(parts: Partial<DeliveryOwner>) {
  const acks = new RabbitMQAcks({ ack: () => undefined, nack: () => undefined })
  const raw = {
    fields: { deliveryTag: 1, redelivered: false, exchange: 'events', routingKey: 'Noted' },
    properties: { messageId: '1' },
    content: Buffer.alloc(0),
  }
  return new RabbitMQDelivery(raw, '1', acks.add(1), acks, { ...owner, ...parts }, undefined)
}

it('runs no longer if it may not start once its place in its line is known', async () => {
  let isLeaving = false
  let rests = 0
  const delivery = receive({ mayStart: () => !isLeaving, rested: () => (rests += 1) })
  expect([delivery.begin(), delivery.isBusy]).toEqual([true, true])

  isLeaving = true

  expect(await delivery.waitBehind('bill', 100)).toBeUndefined()
  expect([delivery.isBusy, rests]).toEqual([false, 1])
})

it('runs while its handler runs, also if its place in its line was not found at once', async () => {
  const addBehind = () => (attempts++ === 0 ? Promise.reject(new Error('planned')) : Promise.resolve(0))
  let attempts = 0
  // A delivery asks its lines for nothing else here.
  const lines = { isOver: () => false, addBehind } as unknown as NonNullable<DeliveryOwner['lines']>
  const delivery = receive({ lines })
  delivery.begin()

  await expect(delivery.waitBehind('bill', 100)).rejects.toThrow('planned')
  expect(await delivery.waitBehind('bill', 100)).toBe(0)

  expect(delivery.isBusy).toBe(true)
})

it('starts no further attempt if the process stood still while the attempt was recorded', async () => {
  let stoodStill = false
  const writeMark = async () => {
    stoodStill = true
  }
  const delivery = receive({ writeMark, mayStart: () => !stoodStill })
  delivery.begin()

  expect(await delivery.beginAttempt(2, [])).toBe(false)
  expect(delivery.isBusy).toBe(false)
})
