import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { storeTest } from './store-under-test.ts'
import {
  append,
  Filed,
  idsOf,
  Noted,
  noted,
  positionsOf,
  readAll,
  Sampled,
  Texted,
  written,
} from './stored-events.ts'

const n = (events: readonly unknown[]) =>
  events.map((event) => (event instanceof Noted ? event.n : undefined))

/** Reading streams and the feed: values, ranges and filters. */
export const readTests = [
  storeTest('reads back values of every type as they were written', async ({ store }) => {
    const event = new Sampled({
      aggregateId: 'a',
      orderId: '7f0c1d3a-6c1b-4d8a-9f5e-2f1f6c1d7a10',
      placedAt: '2026-01-02T03:04:05Z',
      total: 12.5,
      isPaid: false,
      discount: null,
      serial: 12_345_678_901_234_567_890n,
      lines: [{ skuId: '0042', count: 3 }],
      tenantId: 'acme',
      actorId: 'someone',
      causationId: 'the cause',
      metadata: { retries: 0, note: 'é…🎉', nested: { at: '2026' } },
    })
    await append(store, [event], 0)

    const [fromStream] = (await store.getEvents('a')).events
    const [fromFeed] = await readAll(store)
    for (const read of [fromStream, fromFeed?.event]) {
      assert.ok(read instanceof Sampled, 'an instance of its class')
      assert.deepEqual({ ...read }, { ...event })
    }
  }),

  storeTest(
    'returns the requested part of a stream, with the version of the whole stream',
    async ({ store }) => {
      await append(
        store,
        Array.from({ length: 5 }, (_, index) => noted('a', index + 1)),
      )

      const part = async (fromVersion?: number, toVersion?: number) => {
        const range = { ...(fromVersion && { fromVersion }), ...(toVersion && { toVersion }) }
        const { events, version } = await store.getEvents('a', range)
        assert.equal(version, 5)
        return n(events)
      }
      assert.deepEqual(await part(), [1, 2, 3, 4, 5])
      assert.deepEqual(await part(3), [4, 5])
      assert.deepEqual(await part(undefined, 2), [1, 2])
      assert.deepEqual(await part(1, 3), [2, 3])
      assert.deepEqual(await part(5), [])
      assert.deepEqual(await part(9), [])
    },
  ),

  storeTest('reports missing streams and events as missing', async ({ store }) => {
    const event = noted('a')
    assert.deepEqual(await store.getEvents('a'), {
      aggregateId: 'a',
      aggregateType: undefined,
      events: [],
      version: 0,
      isDeleted: false,
    })
    assert.equal(await store.eventExists(event.eventId), false)
    assert.equal(await store.headPosition(), 0)
    assert.deepEqual(await readAll(store), [])

    await append(store, [event])
    assert.equal(await store.eventExists(event.eventId), true)
    assert.equal((await store.getEvents('a', { aggregateType: 'File' })).version, 0)
  }),

  storeTest('reads the feed in commit order, after a position, up to a limit', async ({ store }) => {
    const events = Array.from({ length: 10 }, (_, index) => noted(`a${index % 3}`, index))
    for (const event of events) await append(store, [event])

    const all = await readAll(store)
    assert.deepEqual(written(all.map(({ event }) => event.withAggregateVersion(1))), written(events))
    const positions = positionsOf(all)
    assert.deepEqual(
      positions,
      positions.toSorted((a, b) => a - b),
    )
    assert.equal(await store.headPosition(), positions.at(-1))
    for (const [index, fromPosition] of positions.entries()) {
      assert.deepEqual(idsOf(await readAll(store, { fromPosition })), idsOf(all.slice(index + 1)))
      assert.deepEqual(
        idsOf(await readAll(store, { fromPosition, limit: 2 })),
        idsOf(all.slice(index + 1, index + 3)),
      )
    }
    assert.deepEqual(await readAll(store, { limit: 0 }), [])
  }),

  storeTest('refuses unknown and wrong options of its reads', async ({ store }) => {
    await append(store, [noted('a')])
    // Programs in JavaScript can pass anything.
    const wrong = (options: object) => options as never
    const reads = [
      () => store.getEvents('a', wrong({ fromversion: 1 })),
      () => store.getEvents('a', wrong({ toVersion: '1' })),
      () => store.getEvents('a', wrong(['Note'])),
      () => readAll(store, wrong({ eventType: ['ConformanceNoted'] })),
      () => readAll(store, wrong({ limit: -1 })),
      () => store.readPage(wrong({ tenantID: 'acme' })),
      () => store.readPage(wrong({ eventTypes: 'ConformanceNoted' })),
      () => store.readPage(wrong({ fromPosition: 0.5 })),
    ]
    for (const [index, read] of reads.entries()) {
      await assert.rejects(read, { code: 'CONFIG_INVALID' }, `read ${index}`)
    }
    const unset = wrong({ fromPosition: null, limit: null, eventTypes: null })
    assert.equal((await readAll(store, unset)).length, 1)
    assert.equal((await store.readPage(unset)).events.length, 1)
  }),

  storeTest('filters the feed by event type, aggregate type and tenant', async ({ store }) => {
    const plain = noted('a', 0)
    const rented = new Noted({ aggregateId: 'b', n: 1, tenantId: 'acme' })
    const file = new Filed({ aggregateId: 'c', n: 2, tenantId: 'acme' })
    const other = new Filed({ aggregateId: 'd', n: 3, tenantId: 'other' })
    for (const event of [plain, rented, file, other]) await append(store, [event])

    const found = async (filter: object) => idsOf(await readAll(store, filter))
    const ids = (...events: readonly { readonly eventId: string }[]) => events.map(({ eventId }) => eventId)
    assert.deepEqual(await found({ eventTypes: ['ConformanceFiled'] }), ids(file, other))
    assert.deepEqual(
      await found({ eventTypes: ['ConformanceFiled', 'ConformanceNoted'] }),
      ids(plain, rented, file, other),
    )
    assert.deepEqual(await found({ aggregateTypes: ['Note'] }), ids(plain, rented))
    assert.deepEqual(await found({ tenantId: 'acme' }), ids(rented, file))
    assert.deepEqual(await found({ tenantId: 'acme', aggregateTypes: ['File'] }), ids(file))
    assert.deepEqual(await found({ eventTypes: [] }), [])
    assert.deepEqual(await found({ tenantId: 'acme', limit: 1 }), ids(rented))
  }),

  storeTest('reads the events of one correlation, and up to a position', async ({ store }) => {
    const first = noted('a')
    const caused = noted('b').withCausation(first)
    for (const event of [first, noted('c'), caused]) await append(store, [event])

    const { correlationId } = first
    assert.deepEqual(idsOf(await readAll(store, { correlationId })), [first.eventId, caused.eventId])
    const [, second] = positionsOf(await readAll(store))
    assert.deepEqual(positionsOf(await readAll(store, { toPosition: second ?? 0 })).length, 2)
    const page = await store.readPage({ toPosition: second ?? 0, correlationId })
    assert.deepEqual(idsOf(page.events), [first.eventId])
  }),

  storeTest('returns pages with the end of the feed, independent of the filter', async ({ store }) => {
    assert.deepEqual(await store.readPage(), { events: [], head: 0, headEventId: undefined })
    const events = Array.from({ length: 5 }, (_, index) => noted('a', index))
    const { globalPosition } = await append(store, events)
    const file = new Filed({ aggregateId: 'f', n: 0 })
    const { globalPosition: head } = await append(store, [file])

    const first = await store.readPage({ limit: 2 })
    assert.deepEqual(idsOf(first.events), idsOf((await store.readPage()).events).slice(0, 2))
    const none = await store.readPage({ aggregateTypes: ['Elsewhere'] })
    const behind = await store.readPage({ fromPosition: head })
    for (const page of [first, none, behind]) {
      assert.deepEqual([page.head, page.headEventId], [head, file.eventId])
    }
    assert.deepEqual([none.events, behind.events], [[], []])
    const rest = await store.readPage({ fromPosition: globalPosition })
    assert.deepEqual(idsOf(rest.events), [file.eventId])
  }),

  storeTest(
    'ends a page early because of its size, and reports that there are more events',
    async ({ store }) => {
      const text = 'x'.repeat(1000)
      const event = (n: number) => new Texted({ aggregateId: 'a', n, text })
      const events = Array.from({ length: 7 }, (_, index) => event(index))
      await append(store, events)

      const pages: (readonly string[])[] = []
      for (let fromPosition = 0; ; ) {
        const page = await store.readPage({ fromPosition, maxBytes: 2500, eventTypes: [Texted.eventType] })
        if (page.events.length > 0) pages.push(idsOf(page.events))
        fromPosition = page.events.at(-1)?.position ?? fromPosition
        if (page.isCut !== true) break
      }
      assert.deepEqual(
        pages.flat(),
        events.map(({ eventId }) => eventId),
      )
      // All in one page from a store that does not limit it, otherwise as many as reach the size.
      if (pages.length > 1) assert.deepEqual([pages[0]?.length, pages[1]?.length], [3, 3])
      const single = await store.readPage({ maxBytes: 1 })
      assert.ok(single.events.length === 1 || single.events.length === 7)
      assert.deepEqual(idsOf(await readAll(store, { maxBytes: 1 })), pages.flat())
    },
  ),

  storeTest('is the same store for all that open it', async (scene) => {
    const another = await scene.another()
    await Promise.all([scene.store.ready(), another.ready()])

    assert.equal(await another.identity(), await scene.store.identity())
    assert.deepEqual(await scene.store.health(), { status: 'up', problems: [], heldBack: undefined })
  }),

  storeTest('finds a few matching events among many others', async ({ store }) => {
    const wanted: string[] = []
    for (let round = 0; round < 3; round += 1) {
      await append(
        store,
        Array.from({ length: 400 }, (_, index) => noted(`a${round}`, index)),
      )
      const file = new Filed({ aggregateId: `f${round}`, n: round })
      await append(store, [file])
      wanted.push(file.eventId)
    }

    assert.deepEqual(idsOf(await readAll(store, { aggregateTypes: ['File'] })), wanted)
    assert.deepEqual(idsOf(await readAll(store, { aggregateTypes: ['File'], limit: 2 })), wanted.slice(0, 2))
  }),

  storeTest('finds the position before a time', async ({ store }) => {
    const { globalPosition: early } = await append(store, [noted('a')])
    await clockMoves()
    const between = new Date()
    await clockMoves()
    await append(store, [noted('a')])

    assert.equal(await store.positionBefore(new Date(0)), 0)
    assert.equal(await store.positionBefore(between), early)
    assert.equal(await store.positionBefore(new Date(Date.now() + 86_400_000)), await store.headPosition())
  }),
]

/** Waits until the clock has moved: stored times have a precision of milliseconds. */
async function clockMoves(): Promise<void> {
  const start = Date.now()
  while (Date.now() < start + 3) await delay(1)
}
