import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import type { DomainEvent, Outbox, Stores } from '../../index.ts'
import { waitFor } from '../wait-for.ts'
import type { PublishedTo, RunningRelay } from './relay-under-test.ts'
import { appendTo, idsOf, Noted, noted, refusal, written } from './stored-events.ts'
import { type StoresScene, storesTest } from './stores-under-test.ts'

/** A bus that records the published events, and refuses them while it is down. */
class RecordingBus implements PublishedTo {
  readonly published: DomainEvent[] = []
  isDown = false
  refused = 0

  async publish(events: readonly DomainEvent[]): Promise<void> {
    await delay(1)
    if (this.isDown) {
      this.refused += 1
      throw new Error('the broker is away')
    }
    this.published.push(...events)
  }
}

const idsOfEvents = (events: readonly DomainEvent[]) => events.map(({ eventId }) => eventId)

const addAll = (stores: Stores, events: readonly DomainEvent[]) =>
  stores.transaction((tx) => tx.outbox.add(events))

const notes = (count: number, aggregateId = 'a') =>
  Array.from({ length: count }, (_, n) => noted(aggregateId, n))

async function relayed(
  { startRelay }: StoresScene,
  outbox: Outbox,
  bus: PublishedTo,
  name = 'relay',
): Promise<RunningRelay & AsyncDisposable> {
  const relay = await startRelay(outbox, bus, name)
  return Object.assign(relay, { [Symbol.asyncDispose]: () => relay.stop() })
}

const inFeed = async ({ outbox }: Stores) => idsOf((await outbox.readPage({ limit: 10_000 })).events)

/** The guarantees of the outbox with a relay. */
export const outboxTests = [
  storesTest('refuses unknown and wrong options of its reads', async ({ stores }) => {
    for (const options of [{ fromposition: 1 }, { limit: -1 }, { eventTypes: 'ConformanceNoted' }]) {
      // Programs in JavaScript can pass anything.
      await assert.rejects(stores.outbox.readPage(options as never), { code: 'CONFIG_INVALID' })
    }
  }),

  storesTest(
    'shows nothing of a transaction before its commit, and all of it in order then',
    async ({ stores, other }) => {
      const events = [noted('a', 0), noted('b', 1), noted('a', 2)]
      const wakeUps: number[] = []
      const end = stores.outbox.onAppend(() => wakeUps.push(Date.now()))
      await stores.transaction(async (tx) => {
        await tx.outbox.add(events.slice(0, 2))
        await tx.outbox.add(events.slice(2))
        await tx.outbox.add([])
        assert.deepEqual(await inFeed(other), [])
        assert.equal(await other.outbox.headPosition(), 0)
        assert.equal(wakeUps.length, 0)
      })

      assert.deepEqual(await inFeed(other), idsOfEvents(events))
      assert.ok(wakeUps.length > 0, 'no listener was called after the commit')
      end()
    },
  ),

  storesTest(
    'ends a page early because of its size, and reports that there are more events',
    async ({ stores }) => {
      const events = notes(7)
      await addAll(stores, events)

      const pages: (readonly string[])[] = []
      for (let fromPosition = 0; ; ) {
        const page = await stores.outbox.readPage({ fromPosition, maxBytes: 1 })
        pages.push(idsOf(page.events))
        fromPosition = page.events.at(-1)?.position ?? fromPosition
        if (page.isCut !== true) break
      }

      assert.deepEqual(pages.flat(), idsOfEvents(events))
      // All in one page from an outbox that does not limit it.
      assert.ok(pages.length === 1 || pages[0]?.length === 1, `pages of ${pages.map(({ length }) => length)}`)
    },
  ),

  storesTest('publishes nothing of a transaction that is rolled back', async (scene) => {
    const { stores, other } = scene
    const lost = noted('a', 1)
    await refusal(
      stores.transaction(async (tx) => {
        await tx.outbox.add([lost])
        throw new Error('undone')
      }),
    )
    const kept = noted('a', 2)
    await addAll(stores, [kept])
    const bus = new RecordingBus()
    await using relay = await relayed(scene, other.outbox, bus)
    await relay.whenPublished()

    assert.deepEqual(idsOfEvents(bus.published), [kept.eventId])
  }),

  storesTest('publishes events as they were added, and in order', async (scene) => {
    const { stores, other } = scene
    const caused = new Noted({
      ...{ aggregateId: 'a', n: 1, correlationId: 'c', causationId: 'd', tenantId: 't', actorId: 'u' },
      metadata: { source: 'test', when: '2026-01-01T00:00:00Z' },
    }).withAggregateVersion(7)
    const events = [caused, ...notes(5), ...notes(5, 'b')]
    await addAll(stores, events)
    const bus = new RecordingBus()
    await using relay = await relayed(scene, other.outbox, bus)
    await relay.whenPublished()

    assert.deepEqual(written(bus.published), written(events))
  }),

  storesTest('publishes what comes while the relay runs', async (scene) => {
    const { stores, other } = scene
    const bus = new RecordingBus()
    await using relay = await relayed(scene, other.outbox, bus)
    const events = notes(20)
    for (const event of events) await addAll(stores, [event])
    await relay.whenPublished()

    assert.deepEqual(idsOfEvents(bus.published), idsOfEvents(events))
  }),

  storesTest('publishes what a relay could not publish before it stopped', async (scene) => {
    const { stores, other } = scene
    const events = notes(3)
    await addAll(stores, events)
    const bus = new RecordingBus()
    bus.isDown = true
    {
      await using _relay = await relayed(scene, stores.outbox, bus)
      await waitFor(() => bus.refused > 0)
    }
    bus.isDown = false
    await using relay = await relayed(scene, other.outbox, bus)
    await relay.whenPublished()

    assert.deepEqual(idsOfEvents(bus.published), idsOfEvents(events))
  }),

  storesTest('removes what is published, and nothing else', async (scene) => {
    const { stores, other } = scene
    const bus = new RecordingBus()
    for (let round = 0; round < 5; round += 1) await addAll(stores, notes(100))
    {
      await using relay = await relayed(scene, other.outbox, bus)
      await relay.whenPublished()
    }

    const left = await inFeed(stores)
    assert.equal(bus.published.length, 500)
    assert.ok(left.length <= 1, `${left.length} published events are still there`)
    const later = noted('a', 1)
    await addAll(stores, [later])
    assert.ok((await inFeed(stores)).includes(later.eventId))
    assert.equal(await stores.outbox.headPosition(), await other.outbox.headPosition())
  }),

  storesTest(
    'keeps what one of several relays has not published, until that relay is removed',
    async (scene) => {
      const { stores, other } = scene
      const [first, second] = [new RecordingBus(), new RecordingBus()]
      await addAll(stores, notes(2))
      {
        await using slow = await relayed(scene, other.outbox, second, 'slow')
        await slow.whenPublished()
      }
      const later = notes(5, 'b')
      await addAll(stores, later)
      await using fast = await relayed(scene, stores.outbox, first, 'fast')
      await fast.whenPublished()
      const kept = await inFeed(other)
      assert.deepEqual(kept.slice(-5), idsOfEvents(later))

      assert.equal(await other.outbox.removeRelay('slow'), true)
      assert.equal(await other.outbox.removeRelay('slow'), false)
      await addAll(stores, notes(1, 'c'))
      await fast.whenPublished()
      await waitFor(async () => (await inFeed(other)).length <= 1)
      assert.equal(second.published.length, 2)
    },
  ),

  storesTest('lets one of several relays of a name publish, and another take over', async (scene) => {
    const { stores, other } = scene
    const bus = new RecordingBus()
    const events = notes(50)
    await using second = await (async () => {
      await using first = await relayed(scene, stores.outbox, bus)
      await addAll(stores, events.slice(0, 25))
      await first.whenPublished()
      return relayed(scene, other.outbox, bus)
    })()
    await addAll(stores, events.slice(25))
    await second.whenPublished()

    assert.deepEqual(idsOfEvents(bus.published), idsOfEvents(events))
  }),

  storesTest('keeps events of one aggregate in the order of the commits', async ({ stores, other }) => {
    const versions = new Map<string, number>()
    await Promise.all(
      Array.from({ length: 6 }, (_, writer) => write(writer % 2 === 0 ? stores : other, writer, versions)),
    )

    const seen = await inFeed(stores)
    assert.deepEqual(seen.toSorted(), [...versions.keys()].toSorted())
    const order = seen.map((id) => versions.get(id) ?? 0)
    assert.deepEqual(
      order,
      order.toSorted((a, b) => a - b),
    )
  }),

  storesTest(
    'does not hold back others while a transaction with an event of the same aggregate is open',
    async ({ stores, other }) => {
      const [early, late] = [noted('a', 1), noted('a', 2)]
      const isOpen = Promise.withResolvers<void>()
      const mayCommit = Promise.withResolvers<void>()
      const holding = stores.transaction(async (tx) => {
        await tx.outbox.add([early])
        isOpen.resolve()
        await mayCommit.promise
      })
      await isOpen.promise
      await addAll(other, [late])
      const before = await inFeed(stores)
      mayCommit.resolve()
      await holding

      assert.deepEqual(before, [late.eventId])
      assert.deepEqual(await inFeed(stores), [late.eventId, early.eventId])
    },
    ['concurrentTransactions'],
  ),

  storesTest('shows a follower each event once while transactions interleave', async ({ stores, other }) => {
    let isOver = false
    const versions = new Map<string, number>()
    const writing = Promise.all(
      Array.from({ length: 6 }, (_, writer) => write(writer % 2 === 0 ? stores : other, writer, versions)),
    ).finally(() => {
      isOver = true
    })
    const seen: string[] = []
    for (let position = 0, isLast = false; !isLast; ) {
      isLast = isOver
      const { events, head } = await other.outbox.readPage({ fromPosition: position, limit: 3 })
      seen.push(...idsOf(events))
      position = events.length < 3 ? Math.max(head, position) : (events.at(-1)?.position ?? position)
      if (events.length === 3) isLast = false
      await delay(1)
    }
    await writing

    assert.deepEqual(seen, await inFeed(stores))
    assert.deepEqual(seen.toSorted(), [...versions.keys()].toSorted())
  }),
]

/**
 * Transactions that add an event to the outbox, and only then learn its version: the order in which they add is not that of the
 * versions. One in four is rolled back.
 */
async function write(stores: Stores, writer: number, versions: Map<string, number>): Promise<void> {
  for (let round = 0; round < 8; round += 1) {
    const event = noted('shared', writer)
    const isUndone = (writer + round) % 4 === 0
    const work = stores.transaction(async (tx) => {
      await tx.outbox.add([event])
      await delay((writer * 7 + round * 3) % 4)
      const { newVersion } = await appendTo(tx.events, noted('shared', writer))
      if (isUndone) throw new Error('undone')
      return newVersion
    })
    if (isUndone) await refusal(work)
    else versions.set(event.eventId, await work)
  }
}
