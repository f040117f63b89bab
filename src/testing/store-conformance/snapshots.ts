import assert from 'node:assert/strict'
import type { Snapshot, SnapshotStore } from '../../store/index.ts'
import { append, noted } from './stored-events.ts'
import { storesTest } from './stores-under-test.ts'

const order = { aggregateType: 'Order', aggregateId: 'o 1' }

const snapshot = (version: number, changes: Partial<Snapshot> = {}): Snapshot => ({
  ...order,
  version,
  schemaVersion: 1,
  state: { version, lines: ['a', { count: 2, note: null }], text: 'é…🎉\u0000' },
  takenAt: new Date('2026-01-02T03:04:05.678Z'),
  ...changes,
})

async function versionIn(snapshots: SnapshotStore): Promise<number | undefined> {
  return (await snapshots.load('Order', 'o 1'))?.version
}

/** The latest state of each aggregate. */
export const snapshotTests = [
  storesTest('returns a snapshot as it was saved', async ({ stores, other }) => {
    assert.equal(await stores.snapshots.load('Order', 'o 1'), undefined)
    await stores.snapshots.save(snapshot(3))

    assert.deepEqual(await other.snapshots.load('Order', 'o 1'), snapshot(3))
  }),

  storesTest(
    'keeps the snapshots of aggregates apart, by type and by id',
    async ({ stores: { snapshots } }) => {
      await snapshots.save(snapshot(1))
      await snapshots.save(snapshot(2, { aggregateType: 'Invoice' }))
      await snapshots.save(snapshot(3, { aggregateId: 'o 2' }))

      assert.equal(await versionIn(snapshots), 1)
      assert.equal((await snapshots.load('Invoice', 'o 1'))?.version, 2)
      assert.equal((await snapshots.load('Order', 'o 2'))?.version, 3)
    },
  ),

  storesTest(
    'replaces a snapshot, but not by an older one of the same schema',
    async ({ stores: { snapshots } }) => {
      await snapshots.save(snapshot(3))
      await snapshots.save(snapshot(2))
      assert.equal(await versionIn(snapshots), 3)
      await snapshots.save(snapshot(4))
      assert.equal(await versionIn(snapshots), 4)
      await snapshots.save(snapshot(2, { schemaVersion: 2 }))
      assert.deepEqual(await snapshots.load('Order', 'o 1'), snapshot(2, { schemaVersion: 2 }))
    },
  ),

  storesTest('keeps the highest version of many that are saved at once', async ({ stores, other }) => {
    const versions = [3, 9, 1, 7, 5, 8, 2, 6, 4]
    await Promise.all(
      versions.map((version, index) => (index % 2 === 0 ? stores : other).snapshots.save(snapshot(version))),
    )

    assert.equal(await versionIn(stores.snapshots), 9)
  }),

  storesTest('deletes a snapshot, and does nothing if there is none', async ({ stores: { snapshots } }) => {
    await snapshots.save(snapshot(1))
    await snapshots.delete('Order', 'other')
    assert.equal(await versionIn(snapshots), 1)
    await snapshots.delete('Order', 'o 1')
    await snapshots.delete('Order', 'o 1')
    assert.equal(await versionIn(snapshots), undefined)
  }),

  storesTest('deletes the snapshot of a stream with the stream', async ({ stores, other }) => {
    for (const aggregateId of ['a', 'b', 'c']) {
      await append(stores.events, [noted(aggregateId)])
      await stores.snapshots.save(snapshot(1, { aggregateType: 'Note', aggregateId }))
    }
    await stores.events.deleteStream({ aggregateType: 'Note', aggregateId: 'a' })
    await stores.transaction((tx) => tx.events.deleteStream({ aggregateType: 'Note', aggregateId: 'b' }))

    const left = ['a', 'b', 'c'].map(async (aggregateId) => other.snapshots.load('Note', aggregateId))
    assert.deepEqual(
      (await Promise.all(left)).map((found) => found?.aggregateId),
      [undefined, undefined, 'c'],
    )
  }),
]
