import type { ConsumeMessage, Options } from 'amqplib'
import fc from 'fast-check'
import { inject, it, onTestFinished } from 'vitest'
import { digestOf, type FoundLetter, fuzzBus, fuzzRun } from '../support/fuzz-bus.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import type { ForgedHeader } from '../wire/forged-headers.ts'
import { hostileBody, hostileText } from '../wire/hostile-messages.ts'
import { capturedAmqp, publishOptions } from './captured-amqp.ts'
import { createBus, freshName, plainChannel } from './scene.ts'

interface Message {
  readonly routingKey: string
  readonly body: Buffer
  readonly options: Options.Publish
}

/** The plain client writes only UTF-8, so a proxy replaces this mark by bytes that are not. */
const MARK = '\u{10fffe}'
const MARK_BYTES = Buffer.from(MARK)
const NOT_UTF8 = Buffer.from([0xff, 0xe9, 0x80, 0xc3])
const MAX_SHORT_STRING = 255
/** The plain client cannot write a larger table of headers. */
const MAX_HEADER_BYTES = 60_000

/** A mark that TCP splits between two chunks stays as it is, among others that are replaced. */
function breakMarks(chunk: Buffer): Buffer {
  const bytes = Buffer.from(chunk)
  for (let at = bytes.indexOf(MARK_BYTES); at >= 0; at = bytes.indexOf(MARK_BYTES, at))
    NOT_UTF8.copy(bytes, at)
  return bytes
}

const text = fc.oneof(
  { weight: 9, arbitrary: hostileText },
  { weight: 1, arbitrary: fc.constantFrom(MARK, MARK.repeat(63), `a${MARK}b`) },
)
const shortText = text.filter((candidate) => Buffer.byteLength(candidate) <= MAX_SHORT_STRING)
const headerName = fc.oneof(
  shortText,
  fc.constantFrom(
    'event_type',
    'event_id',
    'aggregate_id',
    'aggregate_version',
    'traceparent',
    'replay_handlers',
    'x-retry-count',
    'x-delivery-count',
    'x-death',
    'x-first-death-reason',
    'x-dlq-consumer-group',
    'x-original-routing-key',
    'x-acquired-count',
    'constructor',
  ),
)
const headerValue = fc.oneof(
  { weight: 4, arbitrary: text },
  {
    weight: 1,
    arbitrary: fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => ({ '!': 'double', value })),
  },
  { weight: 1, arbitrary: fc.maxSafeInteger() },
  { weight: 1, arbitrary: fc.constantFrom(null, true, -1, 3, 2 ** 40, [], {}, [1, 'a', { b: [null] }]) },
  { weight: 1, arbitrary: fc.constantFrom({ '!': 'timestamp', value: 12 }, { '!': 'int64', value: 5 }) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)) },
  { weight: 1, arbitrary: fc.constant([{ count: 1e9, queue: 7, 'routing-keys': [{}], reason: 'rejected' }]) },
)
const headerChange = fc.tuple(headerName, fc.option(headerValue))
const properties = fc.record(
  {
    messageId: shortText,
    correlationId: shortText,
    replyTo: shortText,
    type: shortText,
    appId: shortText,
    contentType: shortText,
    contentEncoding: shortText,
    timestamp: fc.oneof(fc.nat(), fc.constant(2 ** 53)),
    priority: fc.nat(255),
    deliveryMode: fc.constantFrom(1, 2),
    expiration: fc.constant('3600000'),
  },
  { requiredKeys: [] },
)
const fromPython = ['publish', 'retry', 'dlq', 'replay'].flatMap(capturedAmqp)
/** The same of a type that no handler is for, in header and body alike. */
const unheard = fromPython.map((message) => ({
  ...message,
  headers: { ...message.headers, event_type: 'Unheard' },
  body: String(message.body).replace(/"event_type": ?"[^"]*"/, '"event_type":"Unheard"'),
}))
const captured = [...fromPython, ...unheard]

const messages: fc.Arbitrary<Message> = fc
  .tuple(
    fc.constantFrom(...captured),
    fc.array(headerChange, { maxLength: 3 }),
    fc.option(properties),
    fc.option(
      hostileBody.filter((body) => !body.includes(MARK_BYTES)),
      { freq: 1 },
    ),
  )
  .map(([original, changes, changed, body]) => {
    const headers = new Map(Object.entries(original.headers))
    for (const [name, value] of changes) {
      if (value === null) headers.delete(name)
      else headers.set(name, value)
    }
    return {
      routingKey: original.routingKey,
      body: body ?? Buffer.from(original.body),
      options: { ...publishOptions(original), ...changed, headers: Object.fromEntries(headers) },
    }
  })
  .filter(({ options: { headers } }) => JSON.stringify(headers).length < MAX_HEADER_BYTES)

/** A forged header with the type that the library or the broker writes, and the broker's record of deaths with a count. */
function typedHeaders([name, value]: ForgedHeader): readonly (readonly [string, unknown])[] {
  const number = /^-?\d{1,15}$/.test(value) ? Number(value) : value
  const death = { count: number, queue: 'q', reason: 'rejected', 'routing-keys': [value], exchange: '' }
  return name === 'x-delivery-count'
    ? [
        [name, number],
        ['x-death', [death, death]],
      ]
    : [[name, number]]
}

const OURS = /^x-(dlq-|death$|first-death-|last-death-|original-|delivery-count|acquired-)/
/** Characters of a short string that are always kept: a byte that is not UTF-8 becomes U+FFFD, which has three bytes. */
const KEPT_CHARACTERS = MAX_SHORT_STRING / 3

/** The start that is always kept, without half a character at its end. */
const cut = (shortString: string | undefined) =>
  shortString?.slice(0, KEPT_CHARACTERS).replace(/\p{Surrogate}$/u, '')

/** Covers all that a dead letter must keep. Headers that the bus or the broker adds are not part of the message. */
function digest({ content, properties: own }: ConsumeMessage): string {
  const { headers = {}, messageId, correlationId, replyTo, type, appId, contentType, contentEncoding } = own
  const { timestamp, priority } = own
  const kept = Object.entries(headers)
    .filter(([name]) => !OURS.test(name))
    .map(([name, value]) => JSON.stringify([cut(name), value]))
    // RabbitMQ 4 sorts headers by the bytes of their names, of which a dead letter keeps only those that are UTF-8.
    .toSorted()
  const parts = [messageId, correlationId, replyTo, type, appId, contentType, contentEncoding].map(cut)
  return digestOf(content, JSON.stringify([parts, timestamp, priority, kept]))
}

it(
  `handles, skips or dead-letters hostile messages, and leaves their neighbors untouched: ${fuzzRun.title}`,
  async () => {
    const exchangeName = freshName()
    const proxy = await TcpProxy.start({
      host: '127.0.0.1',
      port: Number(new URL(inject('rabbitmqUrl')).port),
    })
    onTestFinished(() => proxy.close())
    proxy.rewriteRequests(breakMarks)
    const channel = await plainChannel(`amqp://127.0.0.1:${proxy.port}`)
    const copies = `${exchangeName}.copies`
    await createBus({ exchangeName }).connect()
    await channel.assertQueue(copies, { exclusive: true })
    await channel.bindQueue(copies, exchangeName, '#')
    await fuzzBus({
      messages,
      createBus: (options) => createBus({ exchangeName, prefetchCount: 500, ...options }),
      async send(batch) {
        for (const { routingKey, body, options } of batch)
          channel.publish(exchangeName, routingKey, body, options)
        await channel.waitForConfirms()
      },
      forge: ({ headers, body }, forged) => ({
        routingKey: `Order.${headers['event_type']}`,
        body: Buffer.from(body),
        options: {
          messageId: headers['event_id'] ?? '',
          headers: { ...headers, ...Object.fromEntries(forged.flatMap(typedHeaders)) },
        },
      }),
      bodyOf: ({ body }) => body,
      digests: async () => {
        const { messageCount } = await channel.checkQueue(copies)
        return (await drain(copies, messageCount)).map(digest)
      },
      deadLetters: async (group, count) =>
        (await drain(`${exchangeName}.${group}.dlq`, count)).map(
          (letter): FoundLetter => ({
            digest: digest(letter),
            reason: letter.properties.headers?.['x-dlq-kind'],
            errorMessage: letter.properties.headers?.['x-dlq-reason'],
          }),
        ),
    })

    async function drain(queue: string, count: number): Promise<readonly ConsumeMessage[]> {
      const found: ConsumeMessage[] = []
      const { promise, resolve } = Promise.withResolvers<void>()
      if (count === 0) return found
      await channel.consume(
        queue,
        (message) => {
          if (message !== null) found.push(message)
          if (found.length === count) resolve()
        },
        { noAck: true },
      )
      await promise
      return found
    }
  },
  fuzzRun.timeoutMs,
)
