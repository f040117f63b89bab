import assert from 'node:assert/strict'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type EventStore, OptimisticLockError } from '../../store/index.ts'
import { assertResumes, assertSawAll, follow } from './following.ts'
import { type StoreScene, storeTest } from './store-under-test.ts'
import { append, noted, readAll } from './stored-events.ts'

async function openAll(scene: StoreScene): Promise<readonly EventStore[]> {
  return Promise.all(Array.from({ length: scene.writers }, () => scene.another()))
}

/** Several concurrent writers, with readers among them. */
export const competitionTests = [
  storeTest('lets exactly one of many writers win if all expect the same version', async (scene) => {
    const writers = await openAll(scene)
    await append(scene.store, [noted('a')])

    const outcomes = await Promise.allSettled(
      writers.map((store, index) => append(store, [noted('a', index), noted('a', index)], 1)),
    )

    const lost = outcomes.filter((outcome) => outcome.status === 'rejected').map(({ reason }) => reason)
    assert.equal(lost.length, writers.length - 1)
    for (const error of lost) {
      assert.ok(error instanceof OptimisticLockError, String(error))
      assert.deepEqual([error.expectedVersion, error.actualVersion], [1, 3])
    }
    assert.equal((await scene.store.getEvents('a')).version, 3)
  }),

  storeTest(
    'accepts all writers that expect any version, and numbers their events without a gap',
    async (scene) => {
      const writers = await openAll(scene)

      const results = await Promise.all(writers.map((store, index) => append(store, [noted('a', index)])))

      const expected = writers.map((_, index) => index + 1)
      const versions = results.map(({ newVersion }) => newVersion)
      assert.deepEqual(
        versions.toSorted((a, b) => a - b),
        expected,
      )
      const { events } = await scene.store.getEvents('a')
      assert.deepEqual(
        events.map(({ aggregateVersion }) => aggregateVersion),
        expected,
      )
    },
  ),

  storeTest('writes an append once if it is sent many times concurrently', async (scene) => {
    const writers = await openAll(scene)
    const events = [noted('a', 0), noted('a', 1)]

    const results = await Promise.all(writers.map((store) => append(store, events, 0)))

    for (const result of results) assert.deepEqual(result, results[0])
    assert.equal((await readAll(scene.store)).length, 2)
  }),

  storeTest('never lets a reader skip an event while writers interleave', async (scene) => {
    const reader = await scene.another()
    const writers = await Promise.all(Array.from({ length: 8 }, () => scene.another()))
    let isOver = false
    const writing = Promise.all(writers.map((store, index) => writeForAWhile(store, index))).finally(() => {
      isOver = true
    })

    const [seen] = await Promise.all([follow(reader, () => isOver), writing])
    await assertSawAll(seen, scene.store)
    await assertResumes(seen, scene.store)
  }),
]

/** Appends one to three events per round, alternately to a stream of its own and to a shared one. */
async function writeForAWhile(store: EventStore, writer: number): Promise<void> {
  for (let round = 0; round < 30; round += 1) {
    const aggregateId = round % 2 === 0 ? `own-${writer}` : 'shared'
    const count = 1 + ((writer + round) % 3)
    await append(
      store,
      Array.from({ length: count }, (_, index) => noted(aggregateId, index)),
    )
    if ((writer + round) % 4 === 0) await nextTurn()
  }
}
