import { expect, it } from 'vitest'
import { waitFor } from '../support/wait-for.ts'
import { connectClient, consume, createBus, freshPrefix, Noted, notes } from './scene.ts'

it('trims to a length, and never what a group has not acknowledged', async () => {
  const streamPrefix = freshPrefix()
  const stream = `${streamPrefix}:stream`
  const client = await connectClient()
  await client.xGroupCreate(stream, 'slow', '0', { MKSTREAM: true })
  const bus = createBus({ streamPrefix, maxLength: 100, trimIntervalMs: 20 })
  await bus.publish(notes('a', 1000))

  // The slow group has read 300 and acknowledged 200 of them: 800 are still needed.
  const [page] = (await client.xReadGroup(
    'slow',
    'c',
    { key: stream, id: '>' },
    { COUNT: 300 },
  )) as unknown as [{ messages: { id: string }[] }]
  await client.xAck(
    stream,
    'slow',
    page.messages.slice(0, 200).map(({ id }) => id),
  )
  // Whole nodes are trimmed, so a few more may stay.
  await waitFor(async () => (await client.xLen(stream)) <= 850)
  expect(await client.xLen(stream)).toBeGreaterThanOrEqual(800)
  await client.xGroupSetId(stream, 'slow', '$')
  await client.xAck(
    stream,
    'slow',
    page.messages.slice(200).map(({ id }) => id),
  )

  await waitFor(async () => (await client.xLen(stream)) <= 200)
  expect(await client.xLen(stream)).toBeGreaterThanOrEqual(100)
})

it('trims what a group may still need only when told to', async () => {
  const streamPrefix = freshPrefix()
  const stream = `${streamPrefix}:stream`
  const client = await connectClient()
  await client.xGroupCreate(stream, 'slow', '0', { MKSTREAM: true })
  const bus = createBus({ streamPrefix, maxLength: 100, trimIntervalMs: 20, trim: 'unsafe' })

  await bus.publish(notes('a', 1000))

  await waitFor(async () => (await client.xLen(stream)) <= 200)
})

it('trims by age', async () => {
  const streamPrefix = freshPrefix()
  const stream = `${streamPrefix}:stream`
  const client = await connectClient()
  for (let n = 1; n <= 500; n += 1) await client.xAdd(stream, `${n}-0`, { payload: 'old' })
  const bus = createBus({ streamPrefix, maxAgeMs: 3_600_000, trimIntervalMs: 20 })

  await bus.publish(notes('a', 10))

  await waitFor(async () => (await client.xLen(stream)) <= 110)
  expect(await client.xLen(stream)).toBeGreaterThanOrEqual(10)
})

it('goes on after the whole server was flushed, with the group made again and a notice', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const bus = createBus({ streamPrefix })
  const seen: number[] = []
  const notices: string[] = []
  bus.subscribe(Noted, (event) => seen.push(event.n))
  bus.onNotice((notice) => notices.push(notice.type))
  await consume(bus)
  await bus.publish(notes('a', 2))
  await waitFor(() => seen.length === 2)

  await client.del([`${streamPrefix}:stream`, `${streamPrefix}:stream:replay:default`])
  await waitFor(() => notices.includes('topologyRestored'))
  await bus.publish(notes('a', 3, 2))

  await waitFor(() => seen.length === 3)
})

it('tells what a plain client sees of the stream', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const bus = createBus({ streamPrefix, maxRetries: 0 })
  bus.subscribe(Noted, ({ n }) => {
    if (n === 1) throw new Error('no')
  })
  await consume(bus)
  await bus.publish(notes('a', 3))
  await waitFor(async () => (await bus.getStreamInfo()).dlqMessages === 1)
  await waitFor(async () => (await bus.getStreamInfo()).pendingMessages === 0)

  const info = await bus.getStreamInfo()

  const stream = `${streamPrefix}:stream`
  const ids = ((await client.xRange(stream, '-', '+')) ?? []).map(({ id }) => id)
  expect(info).toMatchObject({
    connected: true,
    stream: { name: stream, length: 3, firstEntryId: ids[0], lastEntryId: ids[2] },
    consumerGroups: [{ name: 'default', consumers: 1, pending: 0 }],
    activeConsumers: 1,
  })
  expect(info.stats).toMatchObject({ eventsConsumed: 3, eventsProcessedSuccess: 2, eventsProcessedFailed: 1 })
})

it('keeps a message pending while its dead letter cannot be written, and lets others pass', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const bus = createBus({ streamPrefix, maxRetries: 0 })
  const seen: number[] = []
  bus.subscribe(Noted, ({ n }) => {
    if (n === 0) throw new Error('no')
    seen.push(n)
  })
  await consume(bus)
  await client.set(`${streamPrefix}:stream_dlq`, 'in the way')

  await bus.publish([...notes('a', 1), ...notes('b', 2, 1)])
  await waitFor(() => seen.length === 1 && bus.getStats().handlerErrors === 1)
  const pending = await client.xPending(`${streamPrefix}:stream`, 'default')
  await client.del(`${streamPrefix}:stream_dlq`)

  expect(pending.pending).toBe(1)
  await waitFor(async () => (await bus.deadLetters.count()) === 1)
  expect((await client.xPending(`${streamPrefix}:stream`, 'default')).pending).toBe(0)
})

it('dead-letters and replays an entry of more fields than a script can copy', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const bus = createBus({ streamPrefix })
  bus.subscribe(Noted, () => undefined)
  await consume(bus)
  const fields = Array.from({ length: 9000 }, () => ['again', 'x']).flat()
  await client.sendCommand(['XADD', `${streamPrefix}:stream`, '*', 'payload', 'poison', ...fields])
  await waitFor(() => bus.getStats().messagesSentToDlq === 1)
  const [first] = (await client.xRange(`${streamPrefix}:stream_dlq`, '-', '+')) ?? []

  expect(await bus.replayDlqMessage(String(first?.id))).toBe(true)
  await waitFor(() => bus.getStats().messagesSentToDlq === 2)

  const page = await client.sendCommand(['XRANGE', `${streamPrefix}:stream_dlq`, '-', '+'])
  // What XRANGE replies: ids with their names and values.
  const [letter, ...others] = page as unknown as [string, string[]][]
  expect(others).toEqual([])
  expect(letter?.[1].slice(0, 18_002)).toEqual(['payload', 'poison', ...fields])
})

it('lists, replays and removes the dead letters that eventsource-py wrote', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const event = notes('a', 1)[0]
  const payload = JSON.stringify(event)
  const fields = { event_id: String(event?.eventId), event_type: 'Noted', aggregate_id: 'a', payload }
  const dead = {
    ...fields,
    original_message_id: '12-0',
    retry_count: '2',
    dlq_timestamp: '2025-12-13T12:00:00.123456+00:00',
  }
  const id = await client.xAdd(`${streamPrefix}:stream_dlq`, '*', dead)
  const bus = createBus({ streamPrefix })
  const seen: number[] = []
  bus.subscribe(Noted, (noted) => seen.push(noted.n))
  await consume(bus)

  const letter = await bus.deadLetters.get(id)
  const isReplayed = await bus.replayDlqMessage(id)

  expect(letter).toMatchObject({ eventType: 'Noted', attempts: 3, source: '12-0', consumerGroup: undefined })
  expect(isReplayed).toBe(true)
  await waitFor(() => seen.length === 1)
  expect(await bus.getDlqMessages()).toEqual([])
  expect(await bus.replayDlqMessage(id)).toBe(false)
})

it('leaves nothing behind of a replay', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const bus = createBus({ streamPrefix, maxRetries: 0 })
  let isMended = false
  bus.subscribe(Noted, () => {
    if (!isMended) throw new Error('no')
  })
  await consume(bus)
  await bus.publish(notes('a', 1))
  await waitFor(async () => (await bus.deadLetters.count()) === 1)
  isMended = true

  expect(await bus.deadLetters.replayAll()).toBe(1)

  await waitFor(() => bus.getStats().eventsProcessedSuccess === 1)
  await waitFor(async () => (await client.xLen(`${streamPrefix}:stream:replay:default`)) === 0)
})
