import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, it } from 'vitest'
import { type CheckpointStore, FileCheckpointStore, SubscriptionManager } from '../../src/index.ts'
import type { SqliteStores } from '../../src/sqlite/index.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { appendNotes, withFile } from './sqlite-scene.ts'

/** Handles everything that is stored, and stops. @returns how many events that were. */
async function catchUp(stores: SqliteStores, checkpoints: CheckpointStore): Promise<number> {
  let handled = 0
  const handle = () => {
    handled += 1
  }
  const logger = new RecordingLogger()
  await using manager = new SubscriptionManager({ eventStore: stores.events, checkpoints, logger })
  manager.subscribe({ name: 'notes', handle })
  manager.start()
  await manager.whenCaughtUp('notes')
  return handled
}

/** A file with 6 handled events, restored to a backup with 3 of them. */
async function restored(
  scene: ReturnType<typeof withFile>,
  checkpointsOf: (stores: SqliteStores) => CheckpointStore,
) {
  const backup = `${scene.file}.backup`
  const stores = scene.open()
  await appendNotes(stores, 3)
  await catchUp(stores, checkpointsOf(stores))
  const own = new DatabaseSync(scene.file)
  own.exec(`vacuum into '${backup}'`)
  own.close()
  await appendNotes(stores, 3, 3)
  await catchUp(stores, checkpointsOf(stores))
  await stores.close()
  copyFileSync(backup, scene.file)
  return scene.open()
}

it('continues after a restore with the checkpoints that were restored with it', async () => {
  await using scene = withFile()
  const stores = await restored(scene, ({ checkpoints }) => checkpoints)
  await appendNotes(stores, 2, 3)

  expect(await catchUp(stores, stores.checkpoints)).toBe(2)
})

it.each([
  [0, 'POSITION_AHEAD'],
  [4, 'CHECKPOINT_FOREIGN'],
])(
  'refuses a checkpoint that is stored elsewhere after a restore and %i new events: %s',
  async (events, code) => {
    await using scene = withFile()
    const checkpoints = new FileCheckpointStore(join(scene.file, '..', 'checkpoints'))
    const stores = await restored(scene, () => checkpoints)
    await appendNotes(stores, events, 3)

    await expect(catchUp(stores, checkpoints)).rejects.toMatchObject({ code })
  },
)
