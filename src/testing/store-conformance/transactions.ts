import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { DuplicateEventError, OptimisticLockError, type StreamStore } from '../../store/index.ts'
import { assertResumes, assertSawAll, follow } from './following.ts'
import { type StoreScene, storeTest } from './store-under-test.ts'
import { append, appendTo, idsOf, noted, readAll, refusal } from './stored-events.ts'

const needs = ['transactions'] as const
const needsBoth = ['transactions', 'concurrentTransactions'] as const

/** Appends in transactions of the caller. */
export const transactionTests = [
  storeTest(
    'shows nothing of a transaction before its commit, and everything afterwards',
    async (scene) => {
      const { store } = scene
      const reader = await scene.another()
      const events = [noted('a', 0), noted('b', 0), noted('a', 1)]
      let wakeUps = 0
      const end = store.onAppend(() => {
        wakeUps += 1
      })
      await scene.transaction(async (tx) => {
        for (const event of events) await appendTo(tx, event)
        assert.equal((await tx.getEvents('a')).version, 2)
        for (const [index, { eventId }] of events.entries()) {
          assert.equal(await tx.eventExists(eventId), true, `event ${index} inside`)
          assert.equal(await reader.eventExists(eventId), false, `event ${index} outside`)
        }
        assert.equal((await reader.getEvents('a')).version, 0)
        assert.equal(await reader.headPosition(), 0)
        assert.deepEqual((await reader.readPage()).events, [])
        assert.equal(wakeUps, 0)
      })

      assert.deepEqual(idsOf((await store.readPage()).events), ids(events))
      assert.ok(wakeUps > 0, 'no listener was called after the commit')
      end()
    },
    needs,
  ),

  storeTest(
    'returns the positions that the events have after the commit',
    async (scene) => {
      const positions: number[] = []
      await scene.transaction(async (tx) => {
        for (const event of [noted('a'), noted('b')]) {
          positions.push((await appendTo(tx, event)).globalPosition)
        }
      })

      const stored = await readAll(scene.store)
      assert.deepEqual(
        stored.map(({ position }) => position),
        positions,
      )
    },
    needs,
  ),

  storeTest(
    'stores nothing of a transaction that is rolled back, and passes its error on',
    async (scene) => {
      const { globalPosition } = await append(scene.store, [noted('a')])
      const undone = new Error('undone')
      const lost = [noted('a'), noted('b')]
      const outcome = await refusal(
        scene.transaction(async (tx) => {
          for (const event of lost) await appendTo(tx, event)
          throw undone
        }),
      )

      assert.equal(outcome, undone)
      assert.equal(await scene.store.headPosition(), globalPosition)
      for (const { eventId } of lost) assert.equal(await scene.store.eventExists(eventId), false)
      assert.equal((await scene.store.getEvents('b')).version, 0)
      const later = await append(scene.store, lost.slice(0, 1), 1)
      assert.equal(later.newVersion, 2)
      assert.ok(later.globalPosition > globalPosition)
    },
    needs,
  ),

  storeTest(
    'continues a transaction after a refused append',
    async (scene) => {
      const taken = noted('a')
      await append(scene.store, [taken])
      await scene.transaction(async (tx) => {
        const late = await refusal(appendTo(tx, noted('a'), 0))
        assert.ok(late instanceof OptimisticLockError, String(late))
        assert.equal(late.actualVersion, 1)
        const duplicate = await refusal(appendTo(tx, noted('b', 0, taken.eventId)))
        assert.ok(duplicate instanceof DuplicateEventError, String(duplicate))
        await appendTo(tx, noted('a'), 1)
        await appendTo(tx, noted('b'), 'noStream')
      })

      assert.equal((await readAll(scene.store)).length, 3)
    },
    needs,
  ),

  storeTest(
    'accepts a repeated append inside a transaction as written',
    async (scene) => {
      const event = noted('a')
      const first = await append(scene.store, [event], 0)
      await scene.transaction(async (tx) => {
        assert.deepEqual(await appendTo(tx, event, 0), first)
        const inside = await appendTo(tx, noted('b'), 0)
        assert.ok(inside.globalPosition > first.globalPosition)
      })

      assert.equal((await readAll(scene.store)).length, 2)
    },
    needs,
  ),

  storeTest(
    'lets followers see each event once while transactions interleave, stay open and are rolled back',
    async (scene) => {
      const stores = await Promise.all(Array.from({ length: 6 }, () => scene.another()))
      const readers = await Promise.all([7, 3].map(async (size) => [await scene.another(), size] as const))
      let isOver = false
      const writing = Promise.all(stores.map((store, writer) => writeInTransactions(scene, store, writer)))
      const [committed, ...followed] = await Promise.all([
        writing.finally(() => {
          isOver = true
        }),
        ...readers.map(([reader, size]) => follow(reader, () => isOver, size)),
      ])

      for (const seen of followed) await assertSawAll(seen, scene.store)
      assert.deepEqual(idsOf(await readAll(scene.store)).toSorted(), committed.flat().toSorted())
      await assertResumes(followed[0] ?? [], scene.store)
    },
    needs,
  ),

  storeTest(
    'shows no event to a follower before a lower position that commits later',
    async (scene) => {
      const { store } = scene
      const [early, late] = [noted('early'), noted('late')]
      const isOpen = Promise.withResolvers<void>()
      const mayCommit = Promise.withResolvers<void>()
      const holding = scene.transaction(
        async (tx) => {
          await appendTo(tx, early)
          isOpen.resolve()
          await mayCommit.promise
        },
        await scene.another(),
      )
      await isOpen.promise
      await append(store, [late])

      const before = await store.readPage()
      const from = before.events.at(-1)?.position ?? 0
      mayCommit.resolve()
      await holding
      const after = await store.readPage({ fromPosition: from })

      assert.ok(
        before.head <= from,
        `the head was ${before.head}, and a follower there would have come to ${from}`,
      )
      const seen = idsOf([...before.events, ...after.events])
      assert.deepEqual(seen.toSorted(), ids([early, late]).toSorted())
      assert.deepEqual(seen, idsOf(await readAll(store)))
    },
    needsBoth,
  ),

  storeTest(
    'lets others append while a transaction is open',
    async (scene) => {
      const another = await scene.another()
      await scene.transaction(async (tx) => {
        await appendTo(tx, noted('held'))
        for (let round = 0; round < 5; round += 1) await append(another, [noted('free')])
      })

      assert.equal((await readAll(scene.store)).length, 6)
    },
    needsBoth,
  ),
]

const ids = (events: readonly { readonly eventId: string }[]) => events.map(({ eventId }) => eventId)

/**
 * Transactions of one to three statements with waits between them, one in five rolled back.
 * @returns the ids of the committed events.
 */
async function writeInTransactions(
  scene: StoreScene,
  store: Parameters<StoreScene['transaction']>[1],
  writer: number,
): Promise<readonly string[]> {
  const committed: string[] = []
  for (let round = 0; round < 10; round += 1) {
    const events = Array.from({ length: 1 + ((writer + round) % 3) }, (_, index) =>
      noted(index % 2 === 0 ? `own-${writer}` : `other-${writer}-${round % 2}`, round),
    )
    const isUndone = (writer + round) % 5 === 0
    const work = async (tx: StreamStore) => {
      for (const [index, event] of events.entries()) {
        await appendTo(tx, event)
        await delay((writer * 7 + round * 3 + index) % 4)
      }
      if (isUndone) throw new Error('undone')
    }
    const outcome = await scene.transaction(work, store).then(
      () => undefined,
      (error: unknown) => error,
    )
    if (!isUndone) assert.equal(outcome, undefined, String(outcome))
    else assert.equal(outcome instanceof Error && outcome.message, 'undone', String(outcome))
    if (!isUndone) committed.push(...ids(events))
  }
  return committed
}
