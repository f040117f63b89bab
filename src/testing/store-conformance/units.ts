import assert from 'node:assert/strict'
import type { CheckpointStore, Stores, StoreTransaction } from '../../subscriptions/index.ts'
import { appendTo, noted, readAll, refusal } from './stored-events.ts'
import { storesTest } from './stores-under-test.ts'

const event = noted('a')

const checkpoint = { position: 1, storeId: 'a store', eventId: undefined, fence: undefined }

/** Writes to each store of a transaction, and reads its own writes. */
async function writeAll(tx: StoreTransaction): Promise<void> {
  const parked = {
    ...{ subscription: 'sums', position: 1, event, handlerNames: ['handler'] },
    ...{
      errorName: 'Error',
      errorMessage: 'no',
      attempts: 1,
      firstFailedAt: new Date(0),
      failedAt: new Date(0),
    },
  }
  await appendTo(tx.events, event)
  await tx.snapshots.save({
    ...{
      aggregateType: 'Note',
      aggregateId: 'a',
      version: 1,
      schemaVersion: 1,
      state: 1,
      takenAt: new Date(0),
    },
  })
  await tx.checkpoints.save('sums', checkpoint, undefined)
  await tx.deadLetters.add(parked)
  assert.deepEqual(await counts(tx), [true, 1, 1, 1])
}

async function counts({
  events,
  snapshots,
  checkpoints,
  deadLetters,
}: Pick<StoreTransaction, 'events'> &
  Pick<Stores, 'snapshots' | 'deadLetters'> & { readonly checkpoints: CheckpointStore }): Promise<
  readonly unknown[]
> {
  return [
    await events.eventExists(event.eventId),
    (await snapshots.load('Note', 'a'))?.version ?? 0,
    (await checkpoints.load('sums'))?.position ?? 0,
    (await deadLetters.list()).length,
  ]
}

const NOTHING = [false, 0, 0, 0]

/** All stores in one transaction. */
export const unitTests = [
  storesTest('commits writes to all stores together', async ({ stores, other }) => {
    const result = await stores.transaction(async (tx) => {
      await writeAll(tx)
      assert.deepEqual(await counts(other), NOTHING)
      return 'the result'
    })

    assert.equal(result, 'the result')
    assert.deepEqual(await counts(other), [true, 1, 1, 1])
  }),

  storesTest('rolls back writes to all stores together', async ({ stores, other }) => {
    const undone = new Error('undone')
    const outcome = await refusal(
      stores.transaction(async (tx) => {
        await writeAll(tx)
        throw undone
      }),
    )

    assert.equal(outcome, undone)
    assert.deepEqual(await counts(other), NOTHING)
    assert.deepEqual(await counts(stores), NOTHING)
  }),

  storesTest('rolls back removals', async ({ stores }) => {
    await stores.transaction(writeAll)
    await refusal(
      stores.transaction(async (tx) => {
        await tx.deadLetters.remove('sums', 1)
        await tx.snapshots.delete('Note', 'a')
        await tx.events.deleteStream({ aggregateType: 'Note', aggregateId: 'a' })
        await tx.checkpoints.save('sums', { ...checkpoint, position: 9 }, 1)
        throw new Error('undone')
      }),
    )

    assert.deepEqual(await counts(stores), [true, 1, 1, 1])
    assert.equal((await readAll(stores.events)).length, 1)
  }),

  storesTest('continues a transaction after a checkpoint conflict', async ({ stores }) => {
    await stores.checkpoints.save('sums', checkpoint, undefined)
    await stores.transaction(async (tx) => {
      const error = await refusal(tx.checkpoints.save('sums', { ...checkpoint, position: 7 }, 5))
      assert.equal(Reflect.get(Object(error), 'code'), 'CHECKPOINT_CONFLICT', String(error))
      await tx.checkpoints.save('sums', { ...checkpoint, position: 7 }, 1)
    })

    assert.equal((await stores.checkpoints.load('sums'))?.position, 7)
  }),

  storesTest('serves many transactions at once', async ({ stores, other }) => {
    const transfer = (to: Stores, index: number) =>
      to.transaction(async (tx) => {
        await appendTo(tx.events, noted('shared', index))
        await appendTo(tx.events, noted(`own-${index}`, index))
        return index
      })
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, index) => transfer(index % 2 === 0 ? stores : other, index)),
    )

    assert.deepEqual(
      results,
      results.map((_, index) => index),
    )
    assert.equal((await stores.events.getEvents('shared')).version, 20)
    assert.equal((await readAll(stores.events)).length, 40)
  }),
]
