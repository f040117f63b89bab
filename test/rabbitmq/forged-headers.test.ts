import { expect, it } from 'vitest'
import { JsonCodec } from '../../src/index.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { consume, createBus, freshName, plainChannel, proxiedBus, until } from './scene.ts'

/** Headers that a replay or a quorum queue writes, as any producer can also write them. */
const FORGED = {
  event_type: 'OrderCreated',
  replay_handlers: '{"handlers":["first"],"settled":["second"]}',
  'x-delivery-count': 7,
  'x-acquired-count': 7,
}

/** A bus with two handlers, and the delivery counts that they saw. */
async function listeningBus(
  exchangeName = freshName(),
  bus = createBus({ exchangeName, consumerGroup: 'g' }),
) {
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

/** A header `deep` with so many tables or arrays in each other, as a producer without amqplib can encode it. */
function deepHeader(levels: number, kind: 'tables' | 'arrays'): Buffer {
  const prefix = kind === 'tables' ? Buffer.from('\x01dF') : Buffer.from('A')
  const nested = Buffer.alloc(levels * (prefix.length + 4))
  for (let level = 0, at = 0; level < levels; level += 1) {
    at += prefix.copy(nested, at)
    at = nested.writeUInt32BE(nested.length - at - 4, at)
  }
  const head = kind === 'tables' ? Buffer.alloc(0) : Buffer.from('\x04deep')
  return Buffer.concat([head, nested])
}

/** The frames of a message with these headers, on the first channel of a connection. */
function publishFrames(exchange: string, headers: Buffer, body: Buffer): Buffer {
  const frame = (type: number, ...parts: readonly Buffer[]) => {
    const payload = Buffer.concat(parts)
    return Buffer.concat([Buffer.of(type, 0, 1), sized(payload), Buffer.of(0xce)])
  }
  const short = (text: string) => Buffer.concat([Buffer.of(text.length), Buffer.from(text)])
  const method = [Buffer.of(0, 60, 0, 40, 0, 0), short(exchange), short('Order.OrderCreated'), Buffer.of(0)]
  const bodySize = Buffer.alloc(8)
  bodySize.writeUInt32BE(body.length, 4)
  const properties = [Buffer.of(0, 60, 0, 0), bodySize, Buffer.of(0x20, 0), sized(headers)]
  return Buffer.concat([frame(1, ...method), frame(2, ...properties), frame(3, body)])
}

function sized(bytes: Buffer): Buffer {
  const size = Buffer.alloc(4)
  size.writeUInt32BE(bytes.length)
  return Buffer.concat([size, bytes])
}

it.each([
  [1000, 'tables'],
  [12_000, 'tables'],
  [12_000, 'arrays'],
] as const)(
  'dead-letters a message whose headers are %i nested %s, and handles the next',
  async (levels, kind) => {
    const { exchangeName, bus, seen } = await listeningBus()
    const channel = await plainChannel()
    const content = Buffer.from(new JsonCodec().encode(orderCreated()).body)

    // amqplib cannot encode what it cannot decode. Its channel has the connection, and this is its first channel.
    const { connection }: { connection?: { sendBytes(bytes: Buffer): void } } = Object(channel)
    connection?.sendBytes(publishFrames(exchangeName, deepHeader(levels, kind), content))
    channel.publish(exchangeName, 'Order.OrderCreated', content, { headers: { event_type: 'OrderCreated' } })

    await until('the dead letter', () => bus.getStats().messagesSentToDlq === 1)
    await until('the next message', () => seen.length === 2)
    expect(bus.getStats().reconnections).toBe(0)
    const { deadLetters } = await bus.deadLetters.list()
    expect(deadLetters).toMatchObject([{ reason: 'deserialization_error', errorName: 'MessageRefusedError' }])
  },
)

/** A header that the broker stores, and what a server in the middle makes of its value. */
const MARK = Buffer.from('Svalue-with-a-mark')
const MALFORMED = [
  ['a field of a type that no table has', Buffer.from('Lvalue')],
  ['an array that ends beyond its frame', Buffer.from('A\xff\xff\xff\xff', 'latin1')],
  ['a table that ends beyond its frame', Buffer.from('F\x7f\xff\xff\xff', 'latin1')],
  ['a number where a text was, and bytes that are no field', Buffer.from('l')],
] as const

it.each(MALFORMED)(
  'dead-letters a message with %s, once, and handles the next',
  async (_what, replacement) => {
    const exchangeName = freshName()
    const { proxy, bus } = await proxiedBus({ exchangeName, consumerGroup: 'g' })
    // The length of a text is between its type and its bytes.
    const text = Buffer.concat([MARK.subarray(0, 1), sized(MARK.subarray(1))])
    proxy.rewriteAnswers((chunk) => {
      const at = chunk.indexOf(text)
      if (at < 0) return chunk
      const changed = Buffer.from(chunk)
      replacement.copy(changed, at)
      return changed
    })
    const { seen } = await listeningBus(exchangeName, bus)
    const channel = await plainChannel()
    const content = Buffer.from(new JsonCodec().encode(orderCreated()).body)
    channel.publish(exchangeName, 'Order.OrderCreated', content, {
      headers: { event_type: 'OrderCreated', last: MARK.subarray(1).toString() },
      messageId: 'm',
    })
    channel.publish(exchangeName, 'Order.OrderCreated', content, { headers: { event_type: 'OrderCreated' } })

    await until('the dead letter', () => bus.getStats().messagesSentToDlq === 1)
    await until('the next message', () => seen.length === 2)
    expect(seen.map(([, deliveryCount]) => deliveryCount)).toEqual([1, 1])
    expect(bus.getStats().reconnections).toBe(0)
    const { deadLetters } = await bus.deadLetters.list()
    expect(deadLetters).toMatchObject([
      {
        reason: 'deserialization_error',
        errorName: 'MessageRefusedError',
        errorMessage: expect.stringContaining('its properties are not valid AMQP'),
      },
    ])
    expect(Buffer.from(deadLetters[0]?.body ?? [])).toEqual(content)
  },
)
