import { createClient } from 'redis'
import { afterAll, expect, inject, it } from 'vitest'
import type { BusNotice } from '../../../src/index.ts'
import type { RedisEventBus } from '../../../src/redis/index.ts'
import { itUnless } from '../../support/left-out.ts'
import { waitFor } from '../../support/wait-for.ts'
import { connectClient, consume, createBus, freshPrefix, memoryLogger, Noted, notes } from '../scene.ts'

it('trims to a length, and keeps what a group has not acknowledged', async () => {
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
  // Redis trims whole nodes, so a few more entries may stay.
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

it('trims entries that a group may still need if trim is unsafe', async () => {
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

const suiteClient = createClient({ url: inject('redisUrl') })
await suiteClient.connect()
afterAll(() => suiteClient.destroy())

/** The notices of a bus, as they come. */
function noticesOf(bus: RedisEventBus): BusNotice[] {
  const notices: BusNotice[] = []
  bus.onNotice((notice) => notices.push(notice))
  return notices
}

it('reports entries that it trims before any group has read them', async () => {
  const bus = createBus({ maxLength: 100, trimIntervalMs: 20 })
  const notices = noticesOf(bus)

  await bus.publish(notes('a', 1000))
  await waitFor(() => notices.length > 0)

  const kept = (await bus.getStreamInfo()).stream.length
  expect(notices).toMatchObject([{ type: 'eventsLost', count: 1000 - kept }])
})

const version = Number(/redis_version:(\d+)/.exec(await suiteClient.info('server'))?.[1])
const obstacle = version < 7 ? 'needs Redis 7, which counts the entries that were ever added' : undefined
itUnless(
  obstacle,
  'reports entries that were trimmed before the first group existed to this group, too',
  async () => {
    const streamPrefix = freshPrefix()
    const bus = createBus({ streamPrefix, maxLength: 100, trimIntervalMs: 20 })
    const notices = noticesOf(bus)

    await bus.publish(notes('a', 1000))
    await waitFor(() => notices.length > 0)
    const kept = (await bus.getStreamInfo()).stream.length
    const consumer = createBus({ streamPrefix })
    const seen = noticesOf(consumer)
    const handled: number[] = []
    consumer.subscribe(Noted, ({ n }) => handled.push(n))
    await consume(consumer)

    await waitFor(() => handled.length === kept && seen.length > 0)
    expect(seen).toMatchObject([{ type: 'eventsLost', count: 1000 - kept }])
  },
)

it('reports entries that it trims unread under an unsafe limit, and the lag is correct afterwards', async () => {
  const streamPrefix = freshPrefix()
  const stream = `${streamPrefix}:stream`
  const client = await connectClient()
  const bus = createBus({
    streamPrefix,
    consumerGroup: 'slow',
    maxLength: 100,
    trimIntervalMs: 20,
    trim: 'unsafe',
  })
  await client.xGroupCreate(stream, 'slow', '0', { MKSTREAM: true })
  await client.xGroupCreate(stream, 'fast', '$')
  await bus.publish(notes('a', 10))
  await client.xReadGroup('slow', 'c', { key: stream, id: '>' }, { COUNT: 5 })
  await client.xReadGroup('fast', 'c', { key: stream, id: '>' }, { COUNT: 5000 })
  const notices = noticesOf(bus)

  await bus.publish(notes('a', 1000, 10))
  await waitFor(async () => (await client.xLen(stream)) <= 200)

  const lost = (group: string) =>
    notices.flatMap((notice) =>
      notice.type === 'eventsLost' && notice.detail.includes(`the group ${group} `)
        ? (notice.count ?? 0)
        : [],
    )
  const kept = await client.xLen(stream)
  await waitFor(() => lost('slow').reduce((sum, count) => sum + count, 0) === 1000 - 5 - kept)
  const groups = (await bus.getStreamInfo()).consumerGroups
  expect(groups.map(({ name, lag }) => [name, lag]).toSorted()).toEqual([
    ['fast', kept],
    ['slow', kept],
  ])
  expect((await bus.health()).checks.lag.value).toBe(kept)
})

it.each([
  { limit: 'maxLength', options: { maxLength: 100 } },
  { limit: 'maxAgeMs', options: { maxAgeMs: 3_600_000 } },
])(
  'reports how many unread entries it trims ($limit), if the server does not know the lag of the group',
  async ({ options }) => {
    const streamPrefix = freshPrefix()
    const stream = `${streamPrefix}:stream`
    const client = await connectClient()
    for (let n = 1; n <= 1500; n += 1) await client.xAdd(stream, `${n}-0`, { payload: 'old' })
    // The server does not know how many entries are before this one.
    await client.xGroupCreate(stream, 'middle', '1100-0')
    const bus = createBus({ streamPrefix, trimIntervalMs: 20, trim: 'unsafe', ...options })
    const notices = noticesOf(bus)

    await bus.publish(notes('a', 10))
    await waitFor(() => notices.length > 0)
    const kept = await client.xLen(stream)

    const counts = notices.map((notice) => (notice.type === 'eventsLost' ? (notice.count ?? 0) : 0))
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(1500 + 10 - 1100 - kept)
  },
)

it('reports an unknown lag if all unread entries were trimmed', async () => {
  const streamPrefix = freshPrefix()
  const stream = `${streamPrefix}:stream`
  const client = await connectClient()
  await client.xGroupCreate(stream, 'late', '0', { MKSTREAM: true })
  const bus = createBus({ streamPrefix, consumerGroup: 'late' })
  await bus.publish(notes('a', 50))
  await client.xReadGroup('late', 'c', { key: stream, id: '>' }, { COUNT: 5 })
  await client.xTrim(stream, 'MAXLEN', 0)

  expect((await bus.getStreamInfo()).consumerGroups).toMatchObject([{ name: 'late', lag: 0 }])
})

it('warns once of a group that holds trimming back, and names it', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  await client.xGroupCreate(`${streamPrefix}:stream`, 'abandoned', '0', { MKSTREAM: true })
  const logger = memoryLogger()
  const bus = createBus({ streamPrefix, maxLength: 100, trimIntervalMs: 20, logger })
  const notices = noticesOf(bus)

  await bus.publish(notes('a', 1000))
  await waitFor(() => notices.length > 0)

  expect(notices).toMatchObject([{ type: 'trimmingHeldBack', group: 'abandoned' }])
  expect(logger.lines).toContainEqual(
    expect.objectContaining({ level: 'warn', message: 'trimming held back by a consumer group' }),
  )
  expect(await client.xLen(`${streamPrefix}:stream`)).toBe(1000)
})
