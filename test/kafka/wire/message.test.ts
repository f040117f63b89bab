import { expect, inject, it } from 'vitest'
import { type CapturedKafka, capturedKafka, plainMessage } from '../captured-kafka.ts'
import { headerPairs, type PlainRecord, produceInTransactions, readLog } from '../log.ts'
import { administer, type PlainMessage, produce } from '../plain-kafka.ts'
import { consume, createBus, freshName, recorder, until } from '../scene.ts'

const server = inject('kafkaBootstrapServers')
const PARTITIONS = 6

/** A topic prefix whose stream has the same number of partitions as the captured one. */
async function freshPrefix(suffix = '.stream', configs: readonly object[] = []): Promise<string> {
  const topicPrefix = freshName()
  const topics = [`${topicPrefix}${suffix}`]
  await administer(server, (admin) =>
    admin.createTopics({ topics, partitions: PARTITIONS, replicas: 1, configs }),
  )
  return topicPrefix
}

const nameOf = ([name]: readonly [string, string]) => name

it("reads eventsource-py's messages, retries and replays", async () => {
  const topicPrefix = await freshPrefix()
  const bus = createBus({ topicPrefix })
  const events = recorder(bus)
  await consume(bus)
  const cases = capturedKafka('publish', 'retry', 'replay')
  await produce(
    server,
    cases.map((message) => plainMessage(`${topicPrefix}.stream`, message)),
  )
  await until('all to be handled', () => events.length === cases.length)
  expect(bus.getStats()).toMatchObject({ eventsProcessedFailed: 0, handlerErrors: 0, messagesSentToDlq: 0 })
  const idOf = ({ headers }: CapturedKafka) => new Map(headers).get('event_id')
  expect(events.map(({ eventId }) => eventId).toSorted()).toEqual(cases.map(idOf).toSorted())
})

it('publishes them with the same key and body, the same headers in the same order, and to the same partition', async () => {
  const from = await freshPrefix()
  const source = createBus({ topicPrefix: from })
  const events = recorder(source)
  await consume(source)
  // Trace headers depend on the caller's span, not on the bus.
  const cases = capturedKafka('publish').filter(
    ({ headers }) => !headers.some(([name]) => name === 'traceparent'),
  )
  await produce(
    server,
    cases.map((message) => plainMessage(`${from}.stream`, message)),
  )
  await until('all to be handled', () => events.length === cases.length)

  const topicPrefix = await freshPrefix()
  const byId = new Map(events.map((event) => [event.eventId, event]))
  const ids = cases.map(({ headers }) => new Map(headers).get('event_id') ?? '')
  await createBus({ topicPrefix }).publish(ids.flatMap((id) => byId.get(id) ?? []))

  const records = await readLog(server, `${topicPrefix}.stream`, cases.length)
  for (const expected of cases) {
    const record = records.find(({ value }) => value?.equals(expected.value))
    expect(record?.key?.toString(), expected.name).toBe(expected.key)
    expect(record?.partition, expected.name).toBe(expected.partition)
    const headers = record === undefined ? [] : headerPairs(record)
    expect(byInstant(headers), expected.name).toEqual(byInstant(expected.headers))
  }
})

/** The header has the instant in UTC with milliseconds, as a Date has it. The body is unchanged. */
function byInstant(headers: CapturedKafka['headers']): CapturedKafka['headers'] {
  return headers.map(([name, text]) => [name, name === 'occurred_at' ? new Date(text).toISOString() : text])
}

it("reads eventsource-py's dead letters", async () => {
  const topicPrefix = await freshPrefix('.stream.dlq')
  const bus = createBus({ topicPrefix })
  // Also waits for the leaders, because the plain client sends messages twice if there is none.
  expect(await bus.getDlqMessageCount()).toBe(0)
  const cases = capturedKafka('dlq')
  await produce(
    server,
    cases.map((message) => plainMessage(`${topicPrefix}.stream.dlq`, message)),
  )
  expect(await bus.getDlqMessageCount()).toBe(cases.length)
  const messages = await bus.getDlqMessages()
  const { deadLetters } = await bus.deadLetters.list()
  expect(deadLetters).toHaveLength(cases.length)
  for (const { name, key, value, headers } of cases) {
    const index = messages.findIndex((message) => isSame(message.headers, headers))
    expect(messages[index], name).toMatchObject({ key, payload: value, headers: Object.fromEntries(headers) })
    const expected = new Map(headers)
    expect(deadLetters[index], name).toMatchObject({
      reason: expected.get('dlq_reason'),
      errorName: expected.get('dlq_error_type'),
      errorMessage: expected.get('dlq_error_message'),
      consumerGroup: 'wire-projections',
      attempts: Number(expected.get('dlq_retry_count')) + 1,
      source: ['topic', 'partition', 'offset'].map((part) => expected.get(`dlq_original_${part}`)).join(' '),
    })
  }
})

function isSame(headers: Readonly<Record<string, string>>, pairs: CapturedKafka['headers']): boolean {
  return pairs.every(([name, value]) => headers[name] === value)
}

it("keeps the original message in a dead letter, and adds eventsource-py's headers", async () => {
  const topicPrefix = await freshPrefix()
  const bus = createBus({ topicPrefix, consumerGroup: 'wire-projections', maxRetries: 2 })
  bus.subscribeToAllEvents(() => {
    throw new RangeError('cannot cancel: état «expédié»')
  })
  await consume(bus)
  const [original] = capturedKafka('publish')
  if (original === undefined) throw new Error('there is no captured message')
  await produce(server, [plainMessage(`${topicPrefix}.stream`, original)])
  await until('the dead letter', () => bus.getStats().messagesSentToDlq === 1)

  const [letter] = await readLog(server, `${topicPrefix}.stream.dlq`, 1)
  if (letter === undefined) throw new Error('there is no dead letter')
  expect(letter.key?.toString()).toBe(original.key)
  expect(letter.value?.toString()).toBe(original.value.toString())
  const pairs = headerPairs(letter)
  expect(pairs.slice(0, original.headers.length)).toEqual(original.headers)
  const added = Object.fromEntries(pairs.slice(original.headers.length))
  expect(added).toMatchObject({
    dlq_reason: 'max_retries_exceeded',
    dlq_error_type: 'RangeError',
    dlq_error_message: 'cannot cancel: état «expédié»',
    dlq_retry_count: '2',
    dlq_timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00$/),
    dlq_original_topic: `${topicPrefix}.stream`,
    dlq_original_partition: String(original.partition),
    dlq_original_offset: '0',
    dlq_consumer_group: 'wire-projections',
  })
  const theirs = capturedKafka('dlq').flatMap(({ headers }) => headers.map(nameOf))
  for (const name of theirs.filter(
    (candidate) => candidate.startsWith('dlq_') && candidate !== 'dlq_replay_count',
  )) {
    expect(Object.keys(added)).toContain(name)
  }
})

const latin1 = (text: string) => Buffer.from(text, 'latin1')

/** Messages that other producers or mistakes may leave in a partition. */
function strangeMessages(topic: string): {
  readonly good: readonly PlainMessage[]
  readonly poison: readonly PlainMessage[]
} {
  const [captured] = capturedKafka('publish')
  if (captured === undefined) throw new Error('there is no captured message')
  const event = { ...plainMessage(topic, captured), partition: 0 }
  const headers = (...pairs: readonly (readonly [Buffer, Buffer | null])[]) => new Map(pairs)
  return {
    good: [
      { ...event, headers: new Map([...(event.headers ?? []), [latin1('caf\xe9'), latin1('\xff')]]) },
      { ...event, headers: headers([latin1('event_type'), latin1('\xff\xfe')]) },
      { ...event, headers: headers([latin1('event_type'), null]) },
      { ...event, headers: headers([latin1('__proto__'), latin1('x')], [latin1(''), latin1('')]) },
      { ...event, headers: new Map() },
      { ...event, key: undefined },
      { ...event, key: latin1('\xff\xfe') },
    ],
    poison: [
      {
        topic,
        partition: 0,
        key: latin1('tombstone'),
        value: null,
        headers: headers([latin1('caf\xe9'), latin1('\xff')]),
      },
      { topic, partition: 0, key: undefined, value: latin1('hello'), headers: new Map() },
      {
        topic,
        partition: 0,
        key: latin1('\xff'),
        value: latin1('\xff\xfe\x00'),
        headers: headers([latin1('null'), null]),
      },
      { topic, partition: 0, key: latin1(''), value: latin1(''), headers: new Map() },
    ],
  }
}

/** All parts of a record, as text. */
function wholeOf({ key, value, headers }: Pick<PlainRecord, 'key' | 'value' | 'headers'>): string {
  const hex = (bytes: Buffer | null | undefined) => bytes?.toString('hex') ?? 'null'
  const own = [...headers].filter(([name]) => !name.toString().startsWith('dlq_'))
  return [hex(key), hex(value), ...own.map(([name, text]) => `${hex(name)}=${hex(text)}`)].join(' ')
}

it('handles events, dead-letters other records bit for bit, and continues with the partition', async () => {
  const topicPrefix = await freshPrefix()
  const bus = createBus({ topicPrefix })
  const events = recorder(bus)
  await consume(bus)
  const topic = `${topicPrefix}.stream`
  const { good, poison } = strangeMessages(topic)
  const last = { ...good[0], topic, value: good[0]?.value ?? null }
  await produce(server, [...poison, ...good, ...poison, last])
  await until('the events', () => events.length === good.length + 1)
  await until('the poison', () => bus.getStats().messagesSentToDlq === 2 * poison.length)
  const letters = await readLog(server, `${topic}.dlq`, 2 * poison.length)
  const wanted = [...poison, ...poison].map(({ key, value, headers = new Map() }) =>
    wholeOf({ key, value, headers }),
  )
  expect(letters.map(wholeOf).toSorted()).toEqual(wanted.toSorted())
  const { deadLetters } = await bus.deadLetters.list()
  expect(new Set(deadLetters.map(({ reason }) => reason))).toEqual(new Set(['deserialization_error']))
})

it('replays such a dead letter unchanged', async () => {
  const topicPrefix = await freshPrefix()
  const bus = createBus({ topicPrefix })
  await consume(bus)
  bus.subscribeToAllEvents(() => undefined)
  const topic = `${topicPrefix}.stream`
  const { poison } = strangeMessages(topic)
  await produce(server, poison)
  await until('the poison', () => bus.getStats().messagesSentToDlq === poison.length)
  for (const { partition, offset } of await bus.getDlqMessages()) {
    expect(await bus.replayDlqMessage({ partition, offset })).toBe(true)
  }
  await until('the poison to be back', () => bus.getStats().messagesSentToDlq === 2 * poison.length)
  const wanted = poison.map(({ key, value, headers = new Map() }) => wholeOf({ key, value, headers }))
  const letters = await bus.getDlqMessages()
  expect(letters).toHaveLength(poison.length)
  const stored = await readLog(server, `${topic}.dlq`, 3 * poison.length)
  const places = new Set(letters.map(({ partition, offset }) => `${partition} ${offset}`))
  const again = stored.filter(({ partition, offset }) => places.has(`${partition} ${offset}`))
  expect(again.map(wholeOf).toSorted()).toEqual(wanted.toSorted())
})

it('skips types without subscribers, without decoding them', async () => {
  const topicPrefix = await freshPrefix()
  const bus = createBus({ topicPrefix })
  await consume(bus)
  const cases = capturedKafka('publish')
  await produce(
    server,
    cases.map((message) => ({ ...plainMessage(`${topicPrefix}.stream`, message), value: latin1('?') })),
  )
  await until('all to be skipped', () => bus.getStats().eventsSkipped === cases.length)
  expect(bus.getStats()).toMatchObject({ eventsConsumed: 0, messagesSentToDlq: 0 })
})

it.each(['gzip', 'snappy', 'lz4', 'zstd'] as const)(
  'exchanges records compressed with %s with a Java client',
  async (codec) => {
    const compressedTo = (value: string) => freshPrefix('.stream', [{ name: 'compression.type', value }])
    const [byBroker, byUs] = await Promise.all([compressedTo(codec), compressedTo('uncompressed')])
    const cases = capturedKafka('publish')
    const body = cases.map(({ value }) => value.toString()).toSorted()
    // The broker compresses uncompressed records, and decompresses compressed ones.
    const reader = createBus({ topicPrefix: byBroker })
    const events = recorder(reader)
    await consume(reader)
    await produce(
      server,
      cases.map((message) => plainMessage(`${byBroker}.stream`, message)),
    )
    await until('all to be handled', () => events.length === cases.length)
    await createBus({ topicPrefix: byUs, compressionType: codec }).publish(events)
    const records = await readLog(server, `${byUs}.stream`, cases.length)
    expect(records.map(({ value }) => value?.toString()).toSorted()).toEqual(body)
  },
)

it('handles the records of committed transactions, and none of aborted ones', async () => {
  const topicPrefix = await freshPrefix()
  const bus = createBus({ topicPrefix })
  const events = recorder(bus)
  await consume(bus)
  const [captured] = capturedKafka('publish')
  if (captured === undefined) throw new Error('there is no captured message')
  const message = plainMessage(`${topicPrefix}.stream`, captured)
  const poison = { ...message, value: latin1('of no transaction that counts') }
  await produceInTransactions(server, [
    { messages: [message, message], end: 'commit' },
    { messages: [poison, poison], end: 'abort' },
    { messages: [message], end: 'commit' },
  ])
  await until('what was committed', () => events.length === 3)
  await produce(server, [message])
  await until('what follows', () => events.length === 4)
  expect(bus.getStats()).toMatchObject({ eventsConsumed: 4, messagesSentToDlq: 0 })
})

it('refers to the records of a batch that is too large in a dead letter, and continues', async () => {
  const topicPrefix = await freshPrefix()
  const topic = `${topicPrefix}.stream`
  const bus = createBus({ topicPrefix, maxBatchBytes: 3_000_000, maxBatchRecords: 100 })
  const events = recorder(bus)
  const [captured] = capturedKafka('publish')
  if (captured === undefined) throw new Error('there is no captured message')
  const follower = { ...plainMessage(topic, captured), partition: 2 }
  const bomb = { topic, partition: 2, value: Buffer.alloc(40_000_000) }
  const crowd = Array.from({ length: 101 }, () => ({ topic, partition: 2, value: Buffer.from('{}') }))
  await produce(server, [bomb], 'gzip')
  await produce(server, crowd, 'zstd')
  await produce(server, [follower])
  await consume(bus)
  await until('the event after them to be handled', () => events.length === 1)

  const letters = await bus.getDlqMessages()
  expect(letters.map(({ headers }) => headers)).toMatchObject([
    {
      dlq_reason: 'deserialization_error',
      dlq_error_type: 'TooLargeError',
      dlq_original_topic: topic,
      dlq_original_partition: '2',
      dlq_original_offset: '0',
      dlq_original_last_offset: '0',
      dlq_original_bytes: expect.stringMatching(/^\d{5}$/),
    },
    { dlq_original_offset: '1', dlq_original_last_offset: '101' },
  ])
  const [first] = (await bus.deadLetters.list()).deadLetters
  await expect(bus.deadLetters.replay(first?.id ?? '')).rejects.toMatchObject({ code: 'MESSAGE_REFUSED' })
})
