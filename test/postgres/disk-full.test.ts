import { chown, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, inject, onTestFinished } from 'vitest'
import { StoreFullError } from '../../src/index.ts'
import { noted } from '../../src/testing/conformance/events.ts'
import { serverUser } from '../brokers/native-postgres.ts'
import { itUnless } from '../support/left-out.ts'
import { obstacleToMounting, SmallDisk } from '../support/small-disk.ts'
import { connected, freshSchema, openStores } from './postgres-scene.ts'

type Stores = ReturnType<typeof openStores>

const events = (id: string, count: number) => Array.from({ length: count }, (_, n) => noted(id, n))

function append(stores: Stores, id: string, count: number) {
  const stream = { aggregateId: id, aggregateType: 'Note', expectedVersion: 0 }
  return stores.events.appendEvents({ ...stream, events: events(id, count) })
}

async function ownedFolder(disk: SmallDisk): Promise<string> {
  const folder = join(disk.folder, 'server')
  await mkdir(folder)
  const user = await serverUser()
  if (user !== undefined) await chown(folder, user.uid, user.gid)
  return folder
}

itUnless(
  obstacleToMounting,
  'stores no append partially on a full disk, and works again when there is space',
  async () => {
    await using disk = await SmallDisk.mount(16)
    const schema = freshSchema()
    await using client = await connected()
    await client.query(`create tablespace "${schema}" location '${await ownedFolder(disk)}'`)
    const url = new URL(inject('postgresUrl'))
    url.searchParams.set('options', `-c default_tablespace=${schema}`)
    const stores = openStores({ schema, postgresUrl: url.href })
    onTestFinished(async () => {
      await stores.close()
      await using last = await connected()
      await last.query(`drop schema "${schema}" cascade`)
      await last.query(`drop tablespace "${schema}"`)
    })
    await append(stores, 'before', 10)
    await disk.fill(200_000)

    await expect(append(stores, 'much', 3000)).rejects.toBeInstanceOf(StoreFullError)
    expect((await stores.events.getEvents('much')).version).toBe(0)
    expect((await stores.events.readPage()).events).toHaveLength(10)
    await disk.makeRoom()
    expect((await append(stores, 'much', 3000)).newVersion).toBe(3000)
  },
)
