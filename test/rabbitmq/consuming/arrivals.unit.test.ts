import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import type { AmqpMessage } from '../../../src/rabbitmq/client/client.ts'
import { RabbitMQAcks } from '../../../src/rabbitmq/consuming/acks.ts'
import { RabbitMQArrivals } from '../../../src/rabbitmq/consuming/arrivals.ts'
import type { AttemptMark } from '../../../src/rabbitmq/consuming/attempt-marks.ts'
import { type DeliveryOwner, RabbitMQDelivery } from '../../../src/rabbitmq/consuming/delivery.ts'
import type { Delivery, Intake } from '../../../src/transport/transport.ts'

const owner: DeliveryOwner = {
  mayStart: () => true,
  settled: () => undefined,
  writeMark: () => Promise.resolve(),
  removeMark: () => undefined,
  publishDeadLetter: () => Promise.resolve(),
  postpone: () => Promise.resolve(),
  rememberSettled: () => undefined,
  takeSettled: () => false,
}

function redelivered(n: number): AmqpMessage {
  return {
    fields: { deliveryTag: n, redelivered: true, exchange: 'events', routingKey: 'Noted' },
    properties: { messageId: String(n) },
    content: Buffer.alloc(0),
  }
}

/** Arrivals whose marks are read when the test resolves them. */
function scene(room: number) {
  const delivered: string[] = []
  const reads = new Map<string, PromiseWithResolvers<AttemptMark | undefined>>()
  const intake: Intake = {
    get room() {
      return Math.max(0, room - delivered.length)
    },
    roomBytes: Number.POSITIVE_INFINITY,
    whenRoom: () => new Promise(() => undefined),
    deliver: ({ message, deliveryCount }: Delivery) => {
      delivered.push(`${message.headers['event_id'] ?? message.id} ${deliveryCount}`)
    },
  }
  const acks = new RabbitMQAcks({ ack: () => undefined, nack: () => undefined })
  const unreadable: unknown[] = []
  const arrivals = new RabbitMQArrivals({
    intake,
    readMark: ({ properties }) => {
      const read = Promise.withResolvers<AttemptMark | undefined>()
      reads.set(String(properties.messageId), read)
      return read.promise
    },
    unreadable: (_acks, error) => {
      unreadable.push(error)
      acks.close()
    },
    deliveryOf: ({ message, unacked }, mark) =>
      new RabbitMQDelivery(message, String(message.fields.deliveryTag), unacked, acks, owner, mark),
  })
  const add = (n: number) => void arrivals.add({ message: redelivered(n), unacked: acks.add(n), acks })
  return { arrivals, add, delivered, reads, unreadable }
}

const upTo = (end: number) => Array.from({ length: end }, (_, n) => String(n))

it('reads the marks of sixteen messages at a time, and delivers them in the order of their arrival', async () => {
  const { add, delivered, reads } = scene(100)
  for (let n = 0; n < 40; n += 1) add(n)
  await nextTurn()
  // The first message was alone when it arrived, so only its mark was read until now.
  reads.get('0')?.resolve(undefined)
  await nextTurn()

  expect([...reads.keys()]).toEqual(upTo(17))
  for (const n of [5, 3, 2]) reads.get(String(n))?.resolve({ attempts: n, settledHandlers: [] })
  await nextTurn()
  expect(delivered).toEqual(['0 2'])

  reads.get('1')?.resolve(undefined)
  await nextTurn()
  expect(delivered).toEqual(['0 2', '1 2', '2 3', '3 4'])
  expect([...reads.keys()]).toEqual(upTo(20))
})

it('reads no marks of messages that there is no room for', async () => {
  const { add, reads } = scene(3)
  for (let n = 0; n < 5; n += 1) add(n)
  reads.get('0')?.resolve(undefined)
  await nextTurn()

  expect([...reads.keys()]).toEqual(['0', '1', '2'])
})

it('reports once that marks cannot be read, and delivers none of those messages', async () => {
  const { add, delivered, reads, unreadable } = scene(100)
  for (let n = 0; n < 5; n += 1) add(n)
  reads.get('0')?.resolve(undefined)
  await nextTurn()

  for (const n of [1, 2, 3, 4]) reads.get(String(n))?.reject(new Error(`read ${n}`))
  await nextTurn()

  expect(unreadable).toEqual([new Error('read 1')])
  expect(delivered).toEqual(['0 2'])
})
