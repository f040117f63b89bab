import { expect, it } from 'vitest'
import { deathInfoOf } from '../../../src/rabbitmq/dead-letters/death-info.ts'
import { OrderCreated, orderCreated } from '../../support/order-events.ts'
import { capturedAmqp, publishOptions } from '../captured-amqp.ts'
import { consume, createBus, freshName, plainChannel, until } from '../scene.ts'

/** A bus whose only handler fails until the test sets `isFixed`. */
async function failingBus(exchangeName: string) {
  const bus = createBus({ exchangeName, maxRetries: 1 })
  const state = { isFixed: false, handled: [] as string[] }
  bus.subscribe(
    OrderCreated,
    (event) => {
      if (!state.isFixed) throw new RangeError('no such product: «ünïcode»')
      state.handled.push(event.eventId)
    },
    { name: 'charge' },
  )
  await consume(bus)
  return { bus, state }
}

it('lists dead letters without changing them, and replays any of them', async () => {
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

  state.isFixed = true
  expect(await bus.replayDlqMessage(sent[3] ?? '')).toBe(true)
  expect(await bus.replayDlqMessage('no such id')).toBe(false)
  await until('the replayed event', () => state.handled.length === 1)
  expect(state.handled).toEqual([sent[3]])
  expect(await bus.getDlqMessageCount()).toBe(4)
  expect(await bus.purgeDlq()).toBe(4)
  expect(await bus.getDlqMessages()).toEqual([])
  expect(await bus.getDlqMessageCount()).toBe(0)
})

it('writes the headers of eventsource-py and its own to a dead letter', async () => {
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
  const [ours, brokers] = [(await bus.getDlqMessages())[0], (await bus.getDlqMessages()).at(-1)]
  expect(ours?.death).toBeUndefined()
  expect(brokers).toMatchObject({
    originalRoutingKey: 'Order.OrderShipped',
    death: { count: 1, firstQueue: 'wire.projections', firstReason: 'rejected', firstExchange: 'wire' },
  })
  const rejected = deadLetters.at(-1)
  expect(rejected).toMatchObject({ errorName: undefined, eventType: 'OrderShipped' })
  expect(rejected?.source).toContain('Order.OrderShipped')
})

it('shows a message that the broker itself dead-lettered, and replays it', async () => {
  const exchangeName = freshName()
  const { bus, state } = await failingBus(exchangeName)
  await bus.stopConsuming()
  await bus.publish([orderCreated()])
  const channel = await plainChannel()
  await until('the event', async () => (await bus.getQueueInfo()).messageCount === 1)
  const message = await channel.get(`${exchangeName}.default`)
  if (message === false) throw new Error('there is no event')
  channel.reject(message, false)
  await until('the dead letter', async () => (await bus.getDlqMessageCount()) === 1)

  const [letter] = await bus.getDlqMessages()
  expect(letter).toMatchObject({
    eventType: 'OrderCreated',
    originalRoutingKey: 'Order.OrderCreated',
    dlqReason: undefined,
    death: {
      count: 1,
      firstQueue: `${exchangeName}.default`,
      firstReason: 'rejected',
      firstExchange: exchangeName,
    },
  })
  state.isFixed = true
  await consume(bus)
  expect(await bus.replayDlqMessage(letter?.messageId ?? '')).toBe(true)
  await until('the replayed event', () => state.handled.length === 1)
  expect(await bus.getDlqMessageCount()).toBe(0)
})

it.each([
  ['absent', {}],
  ['not a list', { 'x-death': 'often' }],
  ['an empty list', { 'x-death': [] }],
])('ignores an x-death header that is %s', (_what, headers) => {
  expect(deathInfoOf(headers)).toBeUndefined()
})

it('counts only valid counts in an x-death header', () => {
  const deaths = [{ count: 2 }, { count: -1 }, { count: 'x' }, null, 7, { count: 3 }]
  expect(deathInfoOf({ 'x-death': deaths, 'x-first-death-queue': 1 })).toEqual({
    count: 5,
    firstQueue: undefined,
    firstReason: undefined,
    firstExchange: undefined,
  })
})

it('keeps the first 1,000 characters of a long reason', async () => {
  const bus = createBus({ maxRetries: 0 })
  bus.subscribe(OrderCreated, () => {
    throw new Error('x'.repeat(100_000))
  })
  await consume(bus)
  await bus.publish([orderCreated()])
  await until('the dead letter', () => bus.getStats().messagesSentToDlq === 1)
  expect((await bus.getDlqMessages())[0]?.dlqReason).toBe('x'.repeat(1000))
})

it('stores a dead letter even if its exchange and queue were deleted', async () => {
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

it('stores and replays a message that was addressed to several queues for the group that failed only', async () => {
  const exchangeName = freshName()
  const received = { billing: 0, shipping: 0 }
  let isFixed = false
  const billing = createBus({ exchangeName, exchangeType: 'direct', consumerGroup: 'billing', maxRetries: 0 })
  billing.subscribe(OrderCreated, () => {
    received.billing += 1
    if (!isFixed) throw new Error('not yet')
  })
  const shipping = createBus({
    exchangeName,
    exchangeType: 'direct',
    consumerGroup: 'shipping',
    maxRetries: 0,
  })
  shipping.subscribe(OrderCreated, () => {
    received.shipping += 1
  })
  await consume(billing)
  await consume(shipping)
  const channel = await plainChannel()
  const event = orderCreated('Order-1')
  const headers = { event_type: 'OrderCreated', 'x-delay': 60_000 }
  channel.publish(exchangeName, `${exchangeName}.billing`, Buffer.from(JSON.stringify(event)), {
    messageId: event.eventId,
    headers,
    CC: [`${exchangeName}.shipping`],
  })

  await until('the dead letter', async () => (await billing.getDlqMessageCount()) === 1)
  await until('the other group', () => received.shipping === 1)
  expect((await shipping.deadLetters.list()).deadLetters).toHaveLength(1)
  const [letter] = (await billing.deadLetters.list()).deadLetters
  expect(letter).toMatchObject({ consumerGroup: 'billing', eventId: event.eventId })
  isFixed = true
  await billing.deadLetters.replay(letter?.id ?? '')

  await until('the replayed event', () => received.billing === 2)
  await until('an empty queue', async () => (await billing.getDlqMessageCount()) === 0)
  await billing.shutdown()
  await shipping.shutdown()
  expect(received).toEqual({ billing: 2, shipping: 1 })
})
