import { expect, it } from 'vitest'
import type { RabbitMQEventBus } from '../../../src/rabbitmq/index.ts'
import { OrderCreated, orderCreated } from '../../support/order-events.ts'
import { paced } from '../../support/pace.ts'
import { consume, createBus, freshName, hasQueue, plainChannel, until } from '../scene.ts'
import { LETTERS, sceneWithLetters } from './stored-letters.ts'

const timed = async <T>(action: () => Promise<T>) => {
  const startedAt = performance.now()
  return { value: await action(), ms: performance.now() - startedAt }
}

const eventIds = async (bus: RabbitMQEventBus, order: 'oldest' | 'newest') =>
  (await bus.deadLetters.list({ order, limit: 3 })).deadLetters.map(({ eventId }) => eventId)

it('counts and lists all dead letters in one process while another one replays them', async () => {
  const { exchangeName, ids, bus } = await sceneWithLetters()
  const [replaying, watching] = [bus(), bus()]
  await watching.connect()
  const cancel = new AbortController()
  let changed = 0
  const replay = replaying.deadLetters.replayAll(
    {},
    {
      ratePerSecond: 20,
      signal: cancel.signal,
      onProgress: (progress) => {
        changed = progress.changed
      },
    },
  )
  await until('the replay', () => changed > 0)

  for (let round = 0; round < 3; round += 1) {
    const before = changed
    const count = await timed(() => watching.deadLetters.count())
    expect(count.ms).toBeLessThan(paced(2000))
    // One batch may be replayed and not reported yet.
    expect(count.value).toBeLessThanOrEqual(LETTERS - before)
    expect(count.value).toBeGreaterThanOrEqual(LETTERS - changed - 2)
    const newest = await timed(() => eventIds(watching, 'newest'))
    expect(newest.ms).toBeLessThan(paced(2000))
    expect(newest.value).toEqual(ids.slice(-3).toReversed())
  }
  const replayedBefore = changed
  await until('further replays', () => changed > replayedBefore)
  cancel.abort()
  const replayed = await replay
  expect(await watching.deadLetters.count()).toBe(LETTERS - replayed)
  expect(await eventIds(watching, 'oldest')).toEqual(ids.slice(replayed, replayed + 3))
  expect(await hasQueue(`${exchangeName}.default.dlq.reader`)).toBe(false)
  const queue = await (await plainChannel()).checkQueue(`${exchangeName}.default`)
  expect(queue.messageCount).toBe(replayed)
})

it('reads the dead letters of a process that was lost while it held them', async () => {
  const { ids, bus } = await sceneWithLetters()
  const [lost, watching] = [bus(), bus()]
  const held = Promise.withResolvers<void>()
  const onProgress = () => {
    held.resolve()
    return new Promise<void>(() => undefined)
  }
  void lost.deadLetters.replayAll({}, { batchSize: 1, onProgress }).catch(() => undefined)
  await held.promise
  await lost.shutdown({ timeoutMs: 100 })

  // The acknowledgment of the one that was replayed may be lost.
  const count = await watching.deadLetters.count()
  expect(count).toBeGreaterThanOrEqual(LETTERS - 1)
  expect(await eventIds(watching, 'oldest')).toEqual(ids.slice(LETTERS - count).slice(0, 3))
})

it('finds the dead letters of all groups while it and another process read which groups there are', async () => {
  const exchangeName = freshName()
  const [page, other] = ['page', 'other'].map((consumerGroup) => createBus({ exchangeName, consumerGroup }))
  if (page === undefined || other === undefined) throw new Error('two buses')
  const failing = createBus({ exchangeName, consumerGroup: 'billing', maxRetries: 0 })
  failing.subscribe(
    OrderCreated,
    () => {
      throw new Error('no such customer')
    },
    { name: 'charge' },
  )
  await consume(failing)
  await failing.publish([orderCreated(), orderCreated()])
  await until('two dead letters', async () => (await page.deadLetters.count()) === 2)

  const seen = new Set<number>()
  for (let round = 0; round < 10; round += 1) {
    const counts = await Promise.all([
      ...[page, other].flatMap(({ deadLetters }) => [
        deadLetters.list({ order: 'newest' }).then((list) => list.deadLetters.length),
        deadLetters.list().then((list) => list.deadLetters.length),
        deadLetters.summary().then(({ matched }) => matched),
        deadLetters.count(),
      ]),
      ...[page, other].map(async ({ admin }) => (await admin.group('billing')).deadLetters),
    ])
    for (const count of counts) seen.add(count)
  }
  expect([...seen]).toEqual([2])
})

it('counts and lists all dead letters while another process lists them, too', async () => {
  const { ids, bus } = await sceneWithLetters(10_000)
  const [listing, counting] = [bus(), bus()]
  await counting.connect()
  const state = { isListing: true }
  const counts = new Set<number>()
  const counted = (async () => {
    while (state.isListing) counts.add(await counting.deadLetters.count())
  })()
  const listed: (string | undefined)[] = []
  for (let cursor: string | undefined; state.isListing; state.isListing = cursor !== undefined) {
    const page = await listing.deadLetters.list({ limit: 1000, ...(cursor !== undefined && { cursor }) })
    for (const { eventId } of page.deadLetters) listed.push(eventId)
    cursor = page.cursor
  }
  await counted
  expect([...counts]).toEqual([10_000])
  expect(listed).toEqual(ids)
})
