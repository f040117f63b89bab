import assert from 'node:assert/strict'
import { GenericEvent } from '../../index.ts'
import type { EventStore } from '../../store/index.ts'
import { CONSUMERS, PRODUCERS, releasesThatWrite, VERSIONS } from '../versioned-events.ts'
import {
  ALL_SEEN,
  allVersions,
  Current,
  current,
  former,
  named,
  ofVersion,
  Renamed,
  seen,
  underCurrentNames,
} from './evolved-events.ts'
import { type StoreTest, storeTest } from './store-under-test.ts'
import { append, appendTo, readAll, refusal } from './stored-events.ts'

/** Versions and payloads of the stream, as they were written. */
async function rawOf(store: EventStore): Promise<readonly unknown[]> {
  const { events } = await store.getEvents('a')
  return events.map((event) => event instanceof GenericEvent && [event.eventVersion, event.data])
}

/** Each release that reads, against each release that writes. */
const matrix: readonly StoreTest[] = VERSIONS.map((version) =>
  storeTest(`reads events of versions 1, 2 and 3 with the code of version ${version}`, async ({ store }) => {
    const { eventClass, seen: isRight } = CONSUMERS[version]
    store.registerEvents([eventClass])
    for (const [name, { event }] of Object.entries(PRODUCERS)) await append(store, [event(name)])

    const feed = await readAll(store)
    const right = feed.flatMap(({ event }) => (isRight(event) ? [event.aggregateId] : []))
    const faulty = feed.flatMap(({ event, fault }) => (fault === undefined ? [] : [event.aggregateId]))
    assert.deepEqual(
      right,
      releasesThatWrite((written) => written <= version),
    )
    assert.deepEqual(
      faulty,
      releasesThatWrite((written) => written > version),
    )
    for (const { fault } of feed) {
      if (fault !== undefined) assert.match(fault.message, /but this process knows it up to version [12]/)
    }
  }),
)

/** Promise 15: stored events of earlier and later releases. */
export const evolutionTests = [
  ...matrix,
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

  storeTest('reads events with former names as instances of the current class', async ({ store }) => {
    await append(store, [former(1)])
    store.registerEvents([Current])

    const [inStream] = (await store.getEvents('a')).events
    const [inFeed] = await readAll(store)
    assert.deepEqual([inStream, inFeed?.event].map(named), [underCurrentNames(1), underCurrentNames(1)])
  }),

  storeTest('finds events with former names by the current ones', async ({ store }) => {
    await append(store, [former(1)])
    await append(store, [current(1, 'b')])
    store.registerEvents([Current])

    const { eventType, aggregateType } = Current
    const filters = [{ eventTypes: [eventType] }, { aggregateTypes: [aggregateType] }]
    for (const filter of [...filters, Object.assign({}, ...filters)]) {
      const found = await readAll(store, filter)
      assert.deepEqual(
        found.map(({ event }) => named(event)),
        [underCurrentNames(1), underCurrentNames(1)],
      )
      assert.equal((await store.readPage(filter)).events.length, 2)
    }
  }),

  storeTest('continues a stream that was stored under a former aggregate type', async ({ store }) => {
    await append(store, [former(1), former(2)])
    store.registerEvents([Current])
    const third = [current(3)]
    const { newVersion, globalPosition } = await append(store, third, 2)
    assert.equal(newVersion, 3)
    assert.deepEqual(await append(store, third, 2), { newVersion, globalPosition })

    const { aggregateType } = Current
    const stream = await store.getEvents('a', { aggregateType })
    assert.deepEqual(
      stream.events.map(named),
      [1, 2, 3].map((count) => underCurrentNames(count)),
    )
    assert.deepEqual([stream.aggregateType, stream.version], [aggregateType, 3])
    const error = await refusal(append(store, [current(9)], 'noStream'))
    assert.equal(Reflect.get(Object(error), 'code'), 'OPTIMISTIC_LOCK', String(error))
  }),

  storeTest('deletes a stream that was stored under a former aggregate type', async ({ store }) => {
    await append(store, [former(1)])
    store.registerEvents([Current])
    const { aggregateType } = Current
    const { newVersion } = await store.deleteStream({ aggregateId: 'a', aggregateType })

    assert.equal(newVersion, 2)
    const { events, isDeleted } = await store.getEvents('a', { aggregateType })
    assert.deepEqual([events, isDeleted], [[], true])
  }),

  storeTest('refuses a stream that exists under both aggregate types', async ({ store }) => {
    await append(store, [former(1)])
    await append(store, [current(1)])
    store.registerEvents([Current])

    const { aggregateType } = Current
    for (const attempt of [
      () => append(store, [current(2)]),
      () => store.getEvents('a', { aggregateType }),
      () => store.deleteStream({ aggregateId: 'a', aggregateType }),
    ]) {
      const error = await refusal(attempt())
      assert.equal(Reflect.get(Object(error), 'code'), 'STREAM_AMBIGUOUS', String(error))
    }
  }),

  storeTest(
    'continues a stream under a former aggregate type in a transaction',
    async (scene) => {
      const { store } = scene
      await append(store, [former(1)])
      store.registerEvents([Current])
      await scene.transaction(async (events) => {
        assert.equal((await appendTo(events, current(2), 1)).newVersion, 2)
        const { version } = await events.getEvents('a', { aggregateType: Current.aggregateType })
        assert.equal(version, 2)
      })

      assert.deepEqual(
        (await store.getEvents('a')).events.map(named),
        [1, 2].map((n) => underCurrentNames(n)),
      )
    },
    ['transactions'],
  ),
]
