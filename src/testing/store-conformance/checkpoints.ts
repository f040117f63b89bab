import assert from 'node:assert/strict'
import { type Checkpoint, CheckpointConflictError } from '../../subscriptions/index.ts'
import { refusal } from './stored-events.ts'
import { storesTest } from './stores-under-test.ts'

const at = (position: number, changes: Partial<Checkpoint> = {}): Checkpoint => ({
  position,
  storeId: 'a store',
  eventId: `event ${position}`,
  fence: undefined,
  ...changes,
})

async function assertConflict(promise: Promise<unknown>): Promise<void> {
  const error = await refusal(promise)
  assert.ok(error instanceof CheckpointConflictError, String(error))
}

/** The position of each subscription. */
export const checkpointTests = [
  storesTest('keeps a checkpoint for each name, whatever the name', async ({ stores, other }) => {
    const names = ['orders', 'orders/2', '../orders', '.', 'été 🎉', 'ORDERS x', "o'clock; --"]
    for (const [index, name] of names.entries()) {
      await stores.checkpoints.save(name, at(index, { fence: index === 0 ? undefined : index }), undefined)
    }

    for (const [index, name] of names.entries()) {
      const expected = at(index, { fence: index === 0 ? undefined : index })
      assert.deepEqual(await other.checkpoints.load(name), expected)
    }
    assert.equal(await other.checkpoints.load('nobody'), undefined)
  }),

  storesTest('lists all checkpoints by name, with the time of the last save', async ({ stores, other }) => {
    assert.deepEqual(await stores.checkpoints.list(), [])
    const names = ['b', 'été 🎉', 'B', 'a', '~']
    const before = Date.now()
    for (const [index, name] of names.entries()) await stores.checkpoints.save(name, at(index), undefined)
    await stores.checkpoints.save('a', at(10, { fence: 2 }), 3)

    const listed = await other.checkpoints.list()
    assert.deepEqual(
      listed.map(({ name, position, fence }) => [name, position, fence]),
      [
        ['B', 2, undefined],
        ['a', 10, 2],
        ['b', 0, undefined],
        ['~', 4, undefined],
        ['été 🎉', 1, undefined],
      ],
    )
    // The clock of a server may differ a little.
    for (const { savedAt } of listed)
      assert.ok(Math.abs(savedAt.getTime() - before) < 60_000, String(savedAt))
    assert.deepEqual(await stores.checkpoints.load('a'), at(10, { fence: 2 }))
  }),

  storesTest('keeps a checkpoint that has only a position', async ({ stores: { checkpoints } }) => {
    const bare = at(7, { storeId: undefined, eventId: undefined })
    await checkpoints.save('a', bare, undefined)
    assert.deepEqual(await checkpoints.load('a'), bare)
  }),

  storesTest('moves from the stored position, in both directions', async ({ stores: { checkpoints } }) => {
    await checkpoints.save('a', at(5), undefined)
    await checkpoints.save('a', at(9), 5)
    await checkpoints.save('a', at(0), 9)

    assert.deepEqual(await checkpoints.load('a'), at(0))
  }),

  storesTest('treats a repeated save as a no-op', async ({ stores: { checkpoints } }) => {
    await checkpoints.save('a', at(5), undefined)
    await checkpoints.save('a', at(5), undefined)
    await checkpoints.save('a', at(9), 5)
    await checkpoints.save('a', at(9), 5)

    assert.deepEqual(await checkpoints.load('a'), at(9))
  }),

  storesTest(
    'refuses to move a checkpoint that another instance has moved',
    async ({ stores: { checkpoints } }) => {
      await checkpoints.save('a', at(5), undefined)

      await assertConflict(checkpoints.save('a', at(6), undefined))
      await assertConflict(checkpoints.save('a', at(9), 7))
      await assertConflict(checkpoints.save('b', at(9), 7))
      assert.deepEqual(await checkpoints.load('a'), at(5))
      assert.equal(await checkpoints.load('b'), undefined)
    },
  ),

  storesTest('lets one of many concurrent saves move a checkpoint', async ({ stores, other }) => {
    await stores.checkpoints.save('a', at(1), undefined)
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) =>
        (index % 2 === 0 ? stores : other).checkpoints.save('a', at(index + 2), 1),
      ),
    )

    const winners = outcomes.flatMap(({ status }, index) => (status === 'fulfilled' ? [index + 2] : []))
    assert.equal(winners.length, 1)
    assert.equal((await stores.checkpoints.load('a'))?.position, winners[0])
  }),

  storesTest(
    'refuses a former owner of the lease by its fencing number',
    async ({ stores: { checkpoints } }) => {
      await checkpoints.save('a', at(5, { fence: 7 }), undefined)
      await checkpoints.save('a', at(5, { fence: 8 }), 5)

      await assertConflict(checkpoints.save('a', at(6, { fence: 7 }), 5))
      assert.deepEqual(await checkpoints.load('a'), at(5, { fence: 8 }))
      await checkpoints.save('a', at(6, { fence: 8 }), 5)
    },
  ),

  storesTest(
    'keeps the fencing number through a save without one, so that a former owner stays refused',
    async ({ stores: { checkpoints } }) => {
      await checkpoints.save('a', at(6, { fence: 8 }), undefined)
      await checkpoints.save('a', at(7), 6)

      assert.deepEqual(await checkpoints.load('a'), at(7, { fence: 8 }))
      await assertConflict(checkpoints.save('a', at(8, { fence: 7 }), 7))
      await checkpoints.save('a', at(8, { fence: 9 }), 7)
      assert.deepEqual(await checkpoints.load('a'), at(8, { fence: 9 }))
    },
  ),
]
