import { expect, inject, it } from 'vitest'
import { JsonCodec } from '../../src/index.ts'
import { waitFor } from '../support/wait-for.ts'
import { connectClient, consumingBus, createBus, freshPrefix, launchRedis, Noted } from './scene.ts'

const bodyOf = (n: number, aggregateId: string) =>
  String(new JsonCodec().encode(new Noted({ aggregateId, n })).body)

it('dead-letters entries larger than maxEntryBytes, unread, and handles those around them in order', async () => {
  const { url } = await launchRedis('save ""')
  const streamPrefix = freshPrefix()
  const client = await connectClient(url)
  const stream = `${streamPrefix}:stream`
  const large = Buffer.alloc(30e6, 'x')
  for (let n = 0; n < 8; n += 1) {
    await client.sendCommand(['XADD', stream, '*', 'aggregate_id', 'a', 'payload', bodyOf(n, 'a')])
    await client.sendCommand(['XADD', stream, '*', 'aggregate_id', 'a', 'payload', large])
  }

  const { bus, seen, notices } = await consumingBus(url, { streamPrefix })
  await waitFor(() => bus.getStats().messagesSentToDlq === 8 && seen.length === 8, {
    timeoutMs: 60_000,
  })

  expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  expect(notices.filter((notice) => notice.startsWith('connectionLost'))).toEqual([])
  expect(bus.getStats().reconnections).toBe(0)
  // The server copies what the consumer does not read.
  const sizes =
    "local s = {} for _, e in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do s[#s + 1] = #e[2][4] end return s"
  expect(await client.sendCommand(['EVAL', sizes, '1', `${stream}_dlq`])).toEqual(Array(8).fill(30e6))

  // Listing keeps none of them, and replaying one ends with the same dead letter.
  const { deadLetters } = await bus.deadLetters.list()
  expect(deadLetters).toHaveLength(8)
  const [first] = deadLetters
  expect(first).toMatchObject({
    aggregateId: 'a',
    reason: 'deserialization_error',
    errorName: 'DecodeError',
    errorMessage: 'The entry has more than the 20971520 bytes allowed (maxEntryBytes).',
  })
  expect(first?.body).toHaveLength(0)
  expect(await bus.deadLetters.replay(first?.id ?? '')).toBe(true)
  await waitFor(() => bus.getStats().messagesSentToDlq === 9, { timeoutMs: 30_000 })
  expect(await bus.deadLetters.count()).toBe(8)
})

it('reads entries by themselves that are too large for one reply together', async () => {
  const streamPrefix = freshPrefix()
  const publisher = createBus({ streamPrefix })
  const aggregateId = 'x'.repeat(4000)
  const filler = { text: 'y'.repeat(500_000) }
  const events = Array.from({ length: 12 }, (_, n) => new Noted({ aggregateId, n, metadata: filler }))
  await publisher.publish(events)

  // A reply has at most 1 MiB, and the first read asks for more than two entries.
  const limits = { maxEntryBytes: 600_000, maxInFlightBytes: 1_100_000, pendingIdleMs: 60_000 }
  const { bus, seen } = await consumingBus(inject('redisUrl'), { streamPrefix, ...limits })
  await waitFor(() => seen.length === 12)

  expect(seen).toEqual(events.map(({ n }) => n))
  expect(bus.getStats()).toMatchObject({ messagesSentToDlq: 0, reconnections: 0 })
})

it('refuses an entry whose fields are too large only together, or too many', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const stream = `${streamPrefix}:stream`
  const half = 'x'.repeat(600)
  await client.sendCommand(['XADD', stream, '*', 'payload', bodyOf(1, 'a'), 'one', half, 'two', half])
  const many = Array.from({ length: 10_001 }, (_, n) => [`f${n}`, 'v']).flat()
  await client.sendCommand(['XADD', stream, '*', ...many])
  await client.sendCommand(['XADD', stream, '*', 'payload', bodyOf(2, 'a')])

  const { bus, seen } = await consumingBus(inject('redisUrl'), { streamPrefix, maxEntryBytes: 1000 })
  await waitFor(() => seen.length === 1 && bus.getStats().messagesSentToDlq === 2)

  const { deadLetters } = await bus.deadLetters.list()
  expect(deadLetters.map(({ errorMessage }) => errorMessage)).toEqual([
    'The entry has more than the 1000 bytes allowed (maxEntryBytes).',
    'The entry has 10001 fields, more than the 10000 allowed.',
  ])
})

it('takes over large entries of a dead consumer in small pieces', async () => {
  const streamPrefix = freshPrefix()
  const stream = `${streamPrefix}:stream`
  const client = await connectClient()
  await client.sendCommand(['XGROUP', 'CREATE', stream, 'default', '0', 'MKSTREAM'])
  const large = Buffer.alloc(3e6, 'x')
  for (let n = 0; n < 6; n += 1) {
    await client.sendCommand(['XADD', stream, '*', 'payload', bodyOf(n, 'a')])
    await client.sendCommand(['XADD', stream, '*', 'payload', large])
  }
  await client.sendCommand(['XREADGROUP', 'GROUP', 'default', 'dead', 'COUNT', '12', 'STREAMS', stream, '>'])

  const limits = { maxEntryBytes: 1_100_000, maxInFlightBytes: 1_200_000 }
  const { bus, seen } = await consumingBus(inject('redisUrl'), { streamPrefix, ...limits })
  await waitFor(() => seen.length === 6 && bus.getStats().messagesSentToDlq === 6)

  expect(seen).toEqual([0, 1, 2, 3, 4, 5])
  expect(bus.getStats().reconnections).toBe(0)
})
