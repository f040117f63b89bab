import assert from 'node:assert/strict'
import { type BrowseProgress, type BrowseQuery, EventBrowser } from '../../index.ts'
import type { EventStore } from '../../store/index.ts'
import { storeTest } from './store-under-test.ts'
import { append, noted } from './stored-events.ts'

async function browsed(store: EventStore, query: BrowseQuery = {}) {
  const found: string[] = []
  const positions: string[] = []
  for await (const { eventId, position } of new EventBrowser(store).browse(query)) {
    found.push(eventId ?? '')
    positions.push(position)
  }
  return { found, positions }
}

/** An operator searches a store as he searches a broker. */
export const browsingTests = [
  storeTest(
    'browses stored events in both directions, by position, aggregate and time',
    async ({ store }) => {
      const start = Date.now()
      const [a, b] = [
        [noted('a', 1), noted('a', 2)],
        [noted('b', 1), noted('b', 2)],
      ] as const
      for (const events of [a, b]) await append(store, events)
      const all = [...a, ...b].map(({ eventId }) => eventId)

      assert.deepEqual((await browsed(store)).found, all)
      assert.deepEqual((await browsed(store, { direction: 'backward' })).found, all.toReversed())
      assert.deepEqual((await browsed(store, { filter: { aggregateId: 'b' } })).found, all.slice(2))
      const correlationId = a[1].correlationId
      assert.deepEqual((await browsed(store, { filter: { correlationId } })).found, [a[1].eventId])
      for (const direction of ['forward', 'backward'] as const) {
        const expected = direction === 'forward' ? all : all.toReversed()
        const { found, positions } = await browsed(store, { direction, limit: 3 })
        const rest = await browsed(store, { direction, from: positions.at(-1) ?? '' })
        assert.deepEqual([...found, ...rest.found], expected)
      }
      const earlier = new Date(start - 60_000)
      assert.equal((await browsed(store, { from: earlier })).found.length, 4)
      assert.equal((await browsed(store, { from: earlier, direction: 'backward' })).found.length, 0)
    },
  ),

  storeTest('finds one stored event by its id, and ends at a bound', async ({ store }) => {
    const events = [noted('a', 1), noted('a', 2), noted('a', 3)]
    await append(store, events)
    const browser = new EventBrowser(store)
    const progress: BrowseProgress[] = []

    const found = await browser.find(events[1]?.eventId ?? '')
    assert.equal(found?.aggregateId, 'a')
    assert.equal(await browser.find('no such event'), undefined)
    const query = { maxScanned: 2, onProgress: (one: BrowseProgress) => progress.push(one) }
    assert.equal((await browsed(store, query)).found.length, 2)
    assert.equal(progress.at(-1)?.ended, 'maxScanned')
  }),
]
