import assert from 'node:assert/strict'
import { STREAM_DELETED } from '../../store/index.ts'
import { storeTest } from './store-under-test.ts'
import { append, Filed, idsOf, noted, readAll, refusal } from './stored-events.ts'

const stream = { aggregateId: 'a', aggregateType: 'Note' }

/** Deleted streams. */
export const deletionTests = [
  storeTest('deletes the events of a stream, and leaves a tombstone in the feed', async ({ store }) => {
    const [kept, gone] = [noted('b'), noted('a', 0)]
    await append(store, [gone, noted('a', 1)])
    await append(store, [kept])
    const head = await store.headPosition()

    const { newVersion, globalPosition } = await store.deleteStream(stream)

    assert.equal(newVersion, 3)
    assert.ok(globalPosition > head, `the tombstone lies at ${globalPosition}, the head was ${head}`)
    const feed = await readAll(store)
    assert.deepEqual(
      feed.map(({ event }) => [event.eventType, event.aggregateId, event.aggregateVersion]),
      [
        ['ConformanceNoted', 'b', 1],
        [STREAM_DELETED, 'a', 3],
      ],
    )
    assert.equal(await store.headPosition(), globalPosition)
    assert.equal(await store.eventExists(gone.eventId), false)
    assert.deepEqual(await store.getEvents('a', { aggregateType: 'Note' }), {
      ...stream,
      events: [],
      version: 3,
      isDeleted: true,
    })
    assert.deepEqual(await store.deleteStream(stream), { newVersion, globalPosition })
  }),

  storeTest('never reuses a version of a deleted stream', async ({ store }) => {
    const first = noted('a', 0)
    await append(store, [first])
    await store.deleteStream(stream)

    for (const expected of ['any', 'noStream', 'streamExists', 0, 1, 2] as const) {
      const error = await refusal(append(store, [noted('a', 1)], expected))
      assert.equal(Reflect.get(Object(error), 'code'), 'STREAM_DELETED', String(error))
    }
    await append(store, [new Filed({ aggregateId: 'a', n: 0 })], 'noStream')
    assert.equal((await store.getEvents('a', { aggregateType: 'File' })).version, 1)
    assert.equal((await readAll(store)).length, 2)
  }),

  storeTest('resumes after a deleted event', async ({ store }) => {
    const { globalPosition } = await append(store, [noted('a')])
    const later = noted('b')
    await append(store, [later])
    await store.deleteStream(stream)

    const after = await readAll(store, { fromPosition: globalPosition })
    assert.equal(idsOf(after)[0], later.eventId)
    assert.equal(after.length, 2)
  }),

  storeTest('deletes nothing if there is no such stream', async ({ store }) => {
    assert.deepEqual(await store.deleteStream(stream), { newVersion: 0, globalPosition: 0 })
    assert.deepEqual(await readAll(store), [])
    await append(store, [noted('a')], 'noStream')
  }),

  storeTest(
    'keeps a stream whose deletion is rolled back',
    async (scene) => {
      const event = noted('a')
      await append(scene.store, [event])
      const undone = new Error('undone')
      const outcome = await refusal(
        scene.transaction(async (events) => {
          await events.deleteStream(stream)
          assert.equal((await events.getEvents('a', { aggregateType: 'Note' })).isDeleted, true)
          throw undone
        }),
      )

      assert.equal(outcome, undone)
      assert.deepEqual(idsOf(await readAll(scene.store)), [event.eventId])
      await append(scene.store, [noted('a')], 1)
    },
    ['transactions'],
  ),
]
