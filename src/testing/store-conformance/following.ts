import assert from 'node:assert/strict'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { EventStore, StoredEvent } from '../../store/index.ts'
import { idsOf, positionsOf, readAll } from './stored-events.ts'

/** Reads small pages until the end of the feed, when no more events follow. */
export async function follow(
  store: EventStore,
  isOver: () => boolean,
  pageSize = 7,
): Promise<readonly StoredEvent[]> {
  const seen: StoredEvent[] = []
  for (;;) {
    const wasOver = isOver()
    const fromPosition = seen.at(-1)?.position ?? 0
    const { events, head } = await store.readPage({ fromPosition, limit: pageSize })
    seen.push(...events)
    if (events.length < pageSize) {
      assert.ok((seen.at(-1)?.position ?? 0) >= head, `read to the end, and did not reach the head ${head}`)
      if (wasOver) return seen
    }
    await nextTurn()
  }
}

/** Asserts that a follower saw every event of the final feed once, in order. */
export async function assertSawAll(seen: readonly StoredEvent[], store: EventStore): Promise<void> {
  const all = await readAll(store)
  assert.deepEqual(positionsOf(seen), positionsOf(all), 'positions that a follower saw')
  assert.deepEqual(idsOf(seen), idsOf(all))
  for (const [stream, ofStream] of Map.groupBy(all, ({ event }) => event.aggregateId)) {
    assert.deepEqual(
      ofStream.map(({ event }) => event.aggregateVersion),
      ofStream.map((_, index) => index + 1),
      `versions of ${stream}`,
    )
  }
}

/** Resumes at every position that was seen, and asserts that the same events follow. */
export async function assertResumes(seen: readonly StoredEvent[], store: EventStore): Promise<void> {
  const ids = idsOf(seen)
  for (const [index, { position }] of seen.entries()) {
    const page = await store.readPage({ fromPosition: position, limit: 20 })
    assert.deepEqual(idsOf(page.events), ids.slice(index + 1, index + 21), `resumed after ${position}`)
  }
}
