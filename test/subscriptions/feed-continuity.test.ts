import { expect, it } from 'vitest'
import { ForeignCheckpointError, InMemoryEventStore } from '../../src/index.ts'
import { FeedContinuity } from '../../src/subscriptions/feed-continuity.ts'
import { append } from './subscription-scene.ts'

/** A store that counts the pages that are read from it. */
class CountingStore extends InMemoryEventStore {
  pages = 0

  override readPage(...range: Parameters<InMemoryEventStore['readPage']>) {
    this.pages += 1
    return super.readPage(...range)
  }
}

async function interruptedAfter(position: number) {
  const store = new CountingStore()
  await append(store, 0, 3)
  const { events } = await store.readPage({ fromPosition: position - 1, limit: 1 })
  const eventId = events[0]?.event.eventId ?? ''
  const continuity = new FeedContinuity(store, 'seen', { position, eventId })
  continuity.interrupted()
  const page = await store.readPage({ fromPosition: position })
  store.pages = 0
  return { store, continuity, page, eventId }
}

it('reads nothing more if the page came with the event before it', async () => {
  const { store, continuity, page, eventId } = await interruptedAfter(2)

  await continuity.check({ ...page, fromEventId: eventId }, performance.now())
  expect(store.pages).toBe(0)

  await continuity.check(page, performance.now())
  expect(store.pages).toBe(1)
})

it('looks at the position if the page came with another event', async () => {
  const { store, page } = await interruptedAfter(2)
  const continuity = new FeedContinuity(store, 'seen', { position: 2, eventId: 'of another store' })
  continuity.interrupted()

  const check = continuity.check({ ...page, fromEventId: 'here' }, performance.now())
  await expect(check).rejects.toThrow(ForeignCheckpointError)
})
