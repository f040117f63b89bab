import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, inject, it, onTestFinished } from 'vitest'
import { type CheckpointStore, InMemoryCheckpointStore, SubscriptionManager } from '../../src/index.ts'
import type { PostgresStores } from '../../src/postgres/index.ts'
import { Noted, noted } from '../../src/testing/conformance/events.ts'
import { chosenServer } from '../brokers/chosen-server.ts'
import { launchBroker } from '../brokers/launch-broker.ts'
import { itUnless } from '../support/left-out.ts'
import { paced } from '../support/pace.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { freshSchema, openStores } from './postgres-scene.ts'

async function appendMany({ events }: PostgresStores, count: number): Promise<void> {
  for (let n = 0; n < count; n += 1) {
    const event = noted(`a${n % 3}`, n)
    await events.appendEvents({ ...event, events: [event], expectedVersion: 'any' })
  }
}

/** Handles the stored events, and stops. @returns the positions that it handled. */
async function catchUp(stores: PostgresStores, checkpoints: CheckpointStore): Promise<readonly number[]> {
  const { events: eventStore } = stores
  await using manager = new SubscriptionManager({ eventStore, checkpoints, logger: new RecordingLogger() })
  const handled: number[] = []
  manager.subscribe({ name: 's', handle: (_event, { messageId }) => void handled.push(Number(messageId)) })
  manager.start()
  await manager.whenCaughtUp('s')
  return handled
}

/** Why a dump cannot be made; undefined if it can. */
const obstacle =
  chosenServer('postgres')?.version === undefined
    ? undefined
    : 'needs pg_dump, which the programs from Maven Central do not include'

itUnless(
  obstacle,
  'continues in another cluster from a dump, and refuses checkpoints that do not match',
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'eventspine-dump-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    const schema = freshSchema()
    await using source = openStores({ schema, events: [Noted] })
    await source.ready()
    await using server = await launchBroker('postgres')
    // Also the transaction ids of the new cluster are other ones.
    await appendMany(source, 10)
    const elsewhere = new InMemoryCheckpointStore()
    expect(await catchUp(source, source.checkpoints)).toHaveLength(10)
    const file = join(folder, 'dump')
    await server.exec(
      'pg_dump',
      '--format=custom',
      `--schema=${schema}`,
      `--file=${file}`,
      inject('postgresUrl'),
    )
    await appendMany(source, 5)
    expect(await catchUp(source, elsewhere)).toHaveLength(15)
    await server.exec('pg_restore', '--exit-on-error', `--dbname=${server.url}`, file)

    await using restored = openStores({ schema, postgresUrl: server.url, events: [Noted], migrate: 'check' })
    expect(await restored.events.identity()).toBe(await source.events.identity())
    expect(await catchUp(restored, restored.checkpoints)).toEqual([])
    await expect(catchUp(restored, elsewhere)).rejects.toMatchObject({ code: 'POSITION_AHEAD' })
    await appendMany(restored, 6)
    expect(await catchUp(restored, restored.checkpoints)).toEqual([11, 12, 13, 14, 15, 16])
    await expect(catchUp(restored, elsewhere)).rejects.toMatchObject({ code: 'CHECKPOINT_FOREIGN' })
    expect((await restored.events.health()).status).toBe('up')
    expect((await restored.events.getEvents('a0')).version).toBe(6)
  },
  paced(120_000),
)

it('refuses a checkpoint of another store, with its remedy', async () => {
  await using one = openStores()
  await using other = openStores()
  const checkpoints = new InMemoryCheckpointStore()
  for (const stores of [one, other]) await appendMany(stores, 3)
  await catchUp(one, checkpoints)

  await expect(catchUp(other, checkpoints)).rejects.toThrow(
    /it was saved for the store .* Open the store that the checkpoint belongs to\. .*startFrom: 'beginning', or delete the checkpoint/,
  )
})
