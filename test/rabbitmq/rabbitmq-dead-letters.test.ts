import { expect, it } from 'vitest'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { capturedAmqp, publishOptions } from './captured-amqp.ts'
import { consume, createBus, freshName, plainChannel, until } from './rabbitmq-scene.ts'

/** A bus whose only handler fails until told otherwise. */
async function failingBus(exchangeName: string) {
  const bus = createBus({ exchangeName, maxRetries: 1 })
  const state = { isMended: false, handled: [] as string[] }
  bus.subscribe(
    OrderCreated,
    (event) => {
      if (!state.isMended) throw new RangeError('no such product: «ünïcode»')
      state.handled.push(event.eventId)
    },
    { name: 'charge' },
  )
  await consume(bus)
  return { bus, state }
}

it('lists dead letters without disturbing them, and replays any of them', async () => {
  const exchangeName = freshName()
  const { bus, state } = await failingBus(exchangeName)
  const events = ['a', 'b', 'c', 'd', 'e'].map(orderCreated)
  const sent = events.map(({ eventId }) => eventId)
  for (const event of events) {
    const before = bus.getStats().messagesSentToDlq
    await bus.publish([event])
    await until('the dead letter', () => bus.getStats().messagesSentToDlq > before)
  }

  const first = await bus.getDlqMessages({ limit: 3 })
  const second = await bus.getDlqMessages({ limit: 3 })
  expect(first.map(({ messageId }) => messageId)).toEqual(sent.slice(0, 3))
  expect(second).toEqual(first.map((message) => ({ ...message, body: expect.anything() })))
  expect(await bus.getDlqMessages()).toHaveLength(5)
  expect(await bus.getDlqMessageCount()).toBe(5)
  const listed: string[] = []
  let cursor: string | undefined
  do {
    const page = await bus.deadLetters.list({ limit: 2, ...(cursor === undefined ? {} : { cursor }) })
    listed.push(...page.deadLetters.map(({ eventId }) => eventId ?? ''))
    cursor = page.cursor
  } while (cursor !== undefined)
  expect(listed).toEqual(sent)

  state.isMended = true
  expect(await bus.replayDlqMessage(sent[3] ?? '')).toBe(true)
  expect(await bus.replayDlqMessage('no such id')).toBe(false)
  await until('the replayed event', () => state.handled.length === 1)
  expect(state.handled).toEqual([sent[3]])
  expect(await bus.getDlqMessageCount()).toBe(4)
  expect(await bus.purgeDlq()).toBe(4)
  expect(await bus.getDlqMessages()).toEqual([])
  expect(await bus.getDlqMessageCount()).toBe(0)
})

it('writes the dead letter as eventsource-py does, and more', async () => {
  const exchangeName = freshName()
  const { bus } = await failingBus(exchangeName)
  const channel = await plainChannel()
  const event = orderCreated()
  await bus.publish([event])
  await until('the dead letter', () => bus.getStats().messagesSentToDlq === 1)

  const message = await channel.get(`${exchangeName}.default.dlq`)
  if (message === false) throw new Error('there is no dead letter')

  expect(message.fields).toMatchObject({
    exchange: `${exchangeName}_dlq`,
    routingKey: `${exchangeName}.default`,
  })
  expect(message.content.toString()).toBe(JSON.stringify(event))
  expect(message.properties).toMatchObject({
    messageId: event.eventId,
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    deliveryMode: 2,
    priority: 0,
    timestamp: Math.floor(event.occurredAt.getTime() / 1000),
  })
  expect(message.properties.headers).toMatchObject({
    event_type: 'OrderCreated',
    'x-retry-count': 0,
    'x-dlq-reason': 'no such product: «ünïcode»',
    'x-dlq-error-type': 'RangeError',
    'x-dlq-retry-count': 1,
    'x-dlq-timestamp': expect.stringMatching(/\+00:00$/),
    'x-original-routing-key': 'Order.OrderCreated',
    'x-dlq-consumer-group': 'default',
    'x-dlq-handlers': '["charge"]',
  })
  channel.nack(message)
  await until('it to be back', async () => (await bus.getDlqMessageCount()) === 1)
  const [letter] = await bus.getDlqMessages()
  expect(letter).toMatchObject({
    messageId: event.eventId,
    eventType: 'OrderCreated',
    dlqReason: 'no such product: «ünïcode»',
    dlqErrorType: 'RangeError',
    dlqRetryCount: 1,
    originalRoutingKey: 'Order.OrderCreated',
  })
})

it("reads eventsource-py's dead letters, and those of the broker", async () => {
  const exchangeName = freshName()
  const { bus } = await failingBus(exchangeName)
  const channel = await plainChannel()
  const cases = capturedAmqp('dlq')
  for (const letter of cases) {
    channel.sendToQueue(`${exchangeName}.default.dlq`, Buffer.from(letter.body), publishOptions(letter))
  }
  await channel.waitForConfirms()

  const { deadLetters } = await bus.deadLetters.list()

  expect(deadLetters).toHaveLength(cases.length)
  expect(deadLetters[0]).toMatchObject({
    errorName: 'ValueError',
    errorMessage: 'cannot cancel: état «expédié»',
    attempts: 3,
    eventType: 'OrderCancelled',
    source: `${exchangeName}.default (routing key Order.OrderCancelled)`,
  })
  const rejected = deadLetters.at(-1)
  expect(rejected).toMatchObject({ errorName: undefined, eventType: 'OrderShipped' })
  expect(rejected?.source).toContain('Order.OrderShipped')
})

it('keeps as many dead letters as told, for as long as told', async () => {
  const exchangeName = freshName()
  const bus = await consume(createBus({ exchangeName, dlqMaxLength: 2, dlqMessageTtlMs: 60_000 }))
  const channel = await plainChannel()
  await channel.assertQueue(`${exchangeName}.default.dlq`, {
    durable: true,
    arguments: { 'x-max-length': 2, 'x-message-ttl': 60_000 },
  })
  expect(bus.isConsuming).toBe(true)
})

it('stores a dead letter although its exchange and queue were deleted', async () => {
  const exchangeName = freshName()
  const { bus } = await failingBus(exchangeName)
  const channel = await plainChannel()
  await channel.deleteQueue(`${exchangeName}.default.dlq`)
  await channel.deleteExchange(`${exchangeName}_dlq`)

  await bus.publish([orderCreated()])

  await until('the dead letter', () => bus.getStats().messagesSentToDlq === 1)
  expect(await bus.getDlqMessageCount()).toBe(1)
  expect(await bus.getQueueInfo()).toMatchObject({ messageCount: 0 })
})
