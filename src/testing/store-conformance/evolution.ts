import assert from 'node:assert/strict'
import { GenericEvent } from '../../index.ts'
import type { EventStore } from '../../store/index.ts'
import { ALL_SEEN, allVersions, ofVersion, Renamed, seen } from './evolved-events.ts'
import { storeTest } from './store-under-test.ts'
import { append, readAll, refusal } from './stored-events.ts'

/** Versions and payloads of the stream, as they were written. */
async function rawOf(store: EventStore): Promise<readonly unknown[]> {
  const { events } = await store.getEvents('a')
  return events.map((event) => event instanceof GenericEvent && [event.eventVersion, event.data])
}

/** Promise 15: stored events of earlier and later releases. */
export const evolutionTests = [
  storeTest('reads stored events of all versions as instances of the current class', async ({ store }) => {
    store.registerEvents([Renamed])
    await append(store, allVersions())

    const { events } = await store.getEvents('a')
    const { events: page } = await store.readPage({ eventTypes: [Renamed.eventType] })
    const feed = await readAll(store)
    assert.deepEqual(events.map(seen), ALL_SEEN)
    assert.deepEqual(
      page.map(({ event }) => seen(event)),
      ALL_SEEN,
    )
    assert.deepEqual(
      feed.map(({ event, fault }) => fault ?? seen(event)),
      ALL_SEEN,
    )
  }),

  storeTest('keeps events of earlier versions as they were written', async ({ store }) => {
    const events = allVersions()
    await append(store, events)

    const raw = events.map(({ eventVersion, data }) => [eventVersion, data])
    assert.deepEqual(await rawOf(store), raw)
    store.registerEvents([Renamed])
    assert.deepEqual((await store.getEvents('a')).events.map(seen), ALL_SEEN)
  }),

  storeTest('reads an event whose upcast fails as a generic event with the reason', async ({ store }) => {
    store.registerEvents([Renamed])
    await append(store, [ofVersion(1, { n: -1 }), ofVersion(1, { n: 7 })])

    const [faulty, next] = (await store.readPage()).events
    assert.ok(faulty?.event instanceof GenericEvent)
    assert.deepEqual([faulty.event.eventVersion, faulty.event.data], [1, { n: -1 }])
    assert.match(faulty.fault?.message ?? '', /upcast from version 1 to 2/)
    assert.deepEqual([seen(next?.event), next?.fault], [[7, 'piece', 3], undefined])
    const error = await refusal(store.getEvents('a'))
    assert.equal(Reflect.get(Object(error), 'code'), 'STORED_EVENT_INVALID', String(error))
  }),
]
