import fc from 'fast-check'
import { expect, it } from 'vitest'
import { RabbitMQAcks } from '../../../src/rabbitmq/consuming/acks.ts'

/** A model of the broker: the delivery tags that are not acknowledged yet, and the frames received. */
function brokerOf(count: number) {
  const waiting = new Set(Array.from({ length: count }, (_, index) => index + 1))
  let frames = 0
  const ack = ({ fields: { deliveryTag } }: { fields: { deliveryTag: number } }, allUpTo = false) => {
    frames += 1
    // A broker closes the channel when it receives an unknown tag.
    if (!waiting.has(deliveryTag))
      throw new Error(`PRECONDITION_FAILED - unknown delivery tag ${deliveryTag}`)
    for (const tag of waiting) if (tag === deliveryTag || (allUpTo && tag < deliveryTag)) waiting.delete(tag)
  }
  const returned: number[] = []
  const nack = ({ fields }: { readonly fields: { readonly deliveryTag: number } }) => {
    if (!waiting.delete(fields.deliveryTag)) throw new Error('unknown delivery tag')
    returned.push(fields.deliveryTag)
  }
  return { channel: { ack, nack }, waiting, returned, frames: () => frames }
}

it('acknowledges exactly the settled messages, in any order', () => {
  const step = fc.oneof(fc.nat({ max: 29 }), fc.constant('flush' as const))
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const broker = brokerOf(30)
      const acks = new RabbitMQAcks(broker.channel)
      const deliveries = Array.from({ length: 30 }, (_, index) => acks.add(index + 1))
      const settled = new Set<number>()
      for (const what of [...steps, 'flush' as const]) {
        if (what === 'flush') {
          acks.flush()
          const expected = deliveries.map(({ tag }) => tag).filter((tag) => !settled.has(tag))
          expect([...broker.waiting]).toEqual(expected)
          continue
        }
        const delivery = deliveries[what]
        if (delivery === undefined) continue
        acks.settle(delivery)
        settled.add(delivery.tag)
      }
      expect(acks.isOpen).toBe(true)
    }),
  )
})

it('acknowledges everything before the oldest unsettled delivery with one frame per turn', async () => {
  const broker = brokerOf(100)
  const acks = new RabbitMQAcks(broker.channel)
  const deliveries = Array.from({ length: 100 }, (_, index) => acks.add(index + 1))
  for (const delivery of deliveries.slice(0, 90)) acks.settle(delivery)
  await new Promise((resolve) => setImmediate(resolve))
  expect([...broker.waiting]).toEqual([91, 92, 93, 94, 95, 96, 97, 98, 99, 100])
  expect(broker.frames()).toBe(1)
})

it('sends nothing once its channel is closed', () => {
  const broker = brokerOf(2)
  const acks = new RabbitMQAcks(broker.channel)
  const delivery = acks.add(1)
  acks.settle(delivery)
  acks.close()
  acks.flush()
  expect(broker.frames()).toBe(0)
  expect(acks.isOpen).toBe(false)
})

it('returns deliveries in their order, and acknowledges those around them', () => {
  const broker = brokerOf(6)
  const acks = new RabbitMQAcks(broker.channel)
  const deliveries = Array.from({ length: 6 }, (_, index) => acks.add(index + 1))
  for (const delivery of deliveries.slice(0, 2)) acks.settle(delivery)

  acks.requeue(deliveries.slice(2, 5))
  for (const delivery of deliveries.slice(5)) acks.settle(delivery)
  acks.flush()

  expect(broker.returned).toEqual([3, 4, 5])
  expect([...broker.waiting]).toEqual([])
  expect(acks.isOpen).toBe(true)
})

it('names the messages whose acknowledgments may be lost, whether they were sent or not', () => {
  const broker = brokerOf(4)
  const acks = new RabbitMQAcks(broker.channel)
  const [first, second, third] = ['1', '2', '3', '4'].map((messageId, index) =>
    acks.add(index + 1, {
      fields: { deliveryTag: index + 1, redelivered: false, exchange: 'events', routingKey: 'Noted' },
      properties: { messageId },
      content: Buffer.alloc(3),
    }),
  )
  for (const delivery of [first, second]) if (delivery !== undefined) acks.settle(delivery)
  acks.flush()
  if (third !== undefined) acks.settle(third)
  acks.close()

  expect([...broker.waiting]).toEqual([3, 4])
  expect(acks.takeUncertain()).toEqual(['1', '2', '3'].map((id) => `${id} events Noted 3`))
  expect(acks.takeUncertain()).toEqual([])
})
