import { expect, inject, it, onTestFinished } from 'vitest'
import { amqpInteger } from '../../../src/rabbitmq/wire/message.ts'
import { TcpProxy } from '../../support/tcp-proxy.ts'
import { capturedAmqp, publishOptions } from '../captured-amqp.ts'
import { consume, createBus, freshName, plainChannel, recorder, until } from '../scene.ts'

const latin1Of = (text: string) => Buffer.from(text).toString('latin1')

it("reads eventsource-py's messages, and publishes them with the same properties and headers", async () => {
  const exchangeName = freshName()
  const bus = createBus({ exchangeName })
  const events = recorder(bus)
  await consume(bus)
  // Trace headers depend on the caller's span, so messages with them are left out.
  const cases = capturedAmqp('publish').filter(({ headers }) => headers['traceparent'] === undefined)
  const channel = await plainChannel()
  for (const message of cases) {
    channel.publish(exchangeName, message.routingKey, Buffer.from(message.body), publishOptions(message))
  }
  await until('all to be handled', () => events.length === cases.length)

  const target = freshName()
  const publisher = createBus({ exchangeName: target })
  await publisher.connect()
  await channel.assertQueue(target, { exclusive: true })
  await channel.bindQueue(target, target, '#')
  const byId = new Map(events.map((event) => [event.eventId, event]))
  const inOrder = cases.flatMap(({ properties }) => byId.get(String(properties['message_id'])) ?? [])
  await publisher.publish(inOrder)

  for (const expected of cases) {
    const message = await channel.get(target)
    if (message === false) throw new Error(`${expected.name} did not arrive`)
    expect(message.content.toString(), expected.name).toBe(expected.body)
    expect(message.fields.routingKey).toBe(expected.routingKey)
    expect(message.properties, expected.name).toMatchObject(publishOptions(expected))
    expect(message.properties.headers, expected.name).toEqual(expected.headers)
    channel.ack(message)
  }
})

it('handles the retry copies and replays of eventsource-py', async () => {
  const exchangeName = freshName()
  const bus = createBus({ exchangeName })
  const events = recorder(bus)
  await consume(bus)
  const cases = [...capturedAmqp('retry'), ...capturedAmqp('replay')]
  const channel = await plainChannel()
  for (const message of cases) {
    channel.publish(exchangeName, message.routingKey, Buffer.from(message.body), publishOptions(message))
  }
  await until('all to be handled', () => events.length === cases.length)
  expect(bus.getStats()).toMatchObject({ eventsProcessedFailed: 0, handlerErrors: 0 })
})

it('survives hostile headers and bodies, and continues', async () => {
  const exchangeName = freshName()
  const bus = createBus({ exchangeName })
  const events = recorder(bus)
  await consume(bus)
  const [good] = capturedAmqp('publish')
  if (good === undefined) throw new Error('there is no captured message')
  const channel = await plainChannel()
  const send = (body: string, headers: object) =>
    channel.publish(exchangeName, 'Order.OrderCreated', Buffer.from(body), {
      ...publishOptions(good),
      headers,
    })
  send(good.body, { ...good.headers, 'x-retry-count': 'abc', nested: { a: [1, null, { b: true }] } })
  send('{"not": "an event', good.headers)
  send('', {})
  send(good.body, { event_type: { not: 'text' }, 'x-delivery-count': -1 })
  channel.publish(exchangeName, 'x', Buffer.from([0xff, 0xfe]), {})
  send(good.body, good.headers)

  await until('the last', () => events.length === 3)
  await until('the poison', () => bus.getStats().messagesSentToDlq === 3)
  const letters = await bus.getDlqMessages()
  expect(letters.map(({ body }) => body.toString('latin1'))).toEqual(['{"not": "an event', '', '\xff\xfe'])
  const { deadLetters } = await bus.deadLetters.list()
  expect(deadLetters.map(({ reason }) => reason)).toEqual(Array(3).fill('deserialization_error'))
  expect(await bus.replayDlqMessage(letters[1]?.messageId ?? '')).toBe(true)
})

it('dead-letters a message whose headers leave no room for more', async () => {
  const exchangeName = freshName()
  const bus = createBus({ exchangeName })
  recorder(bus)
  await consume(bus)
  const channel = await plainChannel()
  const headers = { event_type: 'Broken', big: 'x'.repeat(64_000) }
  channel.publish(exchangeName, 'x', Buffer.from('poison'), { headers, messageId: 'big-1' })
  await until('the dead letter', () => bus.getStats().messagesSentToDlq === 1)
  expect((await bus.getDlqMessages())[0]).toMatchObject({ messageId: 'big-1', eventType: 'Broken' })
})

it('dead-letters and replays a message that its client can read but not write', async () => {
  const exchangeName = freshName()
  const { port } = new URL(inject('rabbitmqUrl'))
  const proxy = await TcpProxy.start({ host: '127.0.0.1', port: Number(port) })
  onTestFinished(() => proxy.close())
  // The plain client writes only UTF-8: the proxy replaces each § by two bytes that are not.
  proxy.rewriteRequests((chunk) =>
    Buffer.from(chunk.toString('latin1').replaceAll(latin1Of('§'), '\xe9\xff'), 'latin1'),
  )
  const bus = createBus({ exchangeName })
  recorder(bus)
  await consume(bus)
  const channel = await plainChannel(`amqp://127.0.0.1:${proxy.port}`)
  const double = (value: number) => ({ '!': 'double', value })
  const headers = {
    event_type: 'Broken',
    ['§'.repeat(127)]: 1,
    low: double(-1e300),
    fraction: double(2 ** 50 + 0.5),
    list: [double(-1e300), { deep: double(2 ** 50 + 0.5) }],
  }
  const texts = { type: '§'.repeat(127), appId: '§'.repeat(127), correlationId: '§'.repeat(127) }
  channel.publish(exchangeName, 'x', Buffer.from('poison'), { headers, messageId: 'odd-1', ...texts })
  await until('the dead letter', () => bus.getStats().messagesSentToDlq === 1)

  expect(await bus.replayDlqMessage('odd-1')).toBe(true)
  await until('the dead letter again', () => bus.getStats().messagesSentToDlq === 2)
  const letter = await channel.get(`${exchangeName}.default.dlq`)
  if (letter === false) throw new Error('there is no dead letter')
  expect(letter.content.toString()).toBe('poison')
  expect(letter.properties.headers).toMatchObject({
    low: -1e300,
    fraction: 2 ** 50 + 0.5,
    list: [-1e300, { deep: 2 ** 50 + 0.5 }],
  })
  expect(letter.properties.type).toBe('\ufffd'.repeat(85))
})

it('writes integers in the smallest type, as eventsource-py does', () => {
  expect([1, 32_767, 32_768, 65_535, 65_536, 2 ** 31, 2 ** 32].map(amqpInteger)).toEqual([
    1,
    32_767,
    { '!': 'uint16', value: 32_768 },
    { '!': 'uint16', value: 65_535 },
    65_536,
    { '!': 'uint32', value: 2 ** 31 },
    2 ** 32,
  ])
})
