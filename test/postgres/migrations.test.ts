import { expect, inject, it } from 'vitest'
import { StoreSchemaError, type StreamStore } from '../../src/index.ts'
import { PostgresPermissionError, postgresMigrationSql } from '../../src/postgres/index.ts'
import { noted } from '../../src/testing/conformance/events.ts'
import { connected, freshSchema, openStores } from './postgres-scene.ts'

const append = ({ events }: { readonly events: StreamStore }, aggregateId = 'a') =>
  events.appendEvents({
    aggregateId,
    aggregateType: 'Note',
    events: [noted(aggregateId)],
    expectedVersion: 'any',
  })

it('is run by one of several instances that start at once', async () => {
  const schema = freshSchema()
  const stores = Array.from({ length: 6 }, () => openStores({ schema, poolSize: 1 }))
  await Promise.all(stores.map((one) => append(one)))

  await using client = await connected()
  const { rows } = await client.query(`select version, name from "${schema}".migrations`)
  expect(rows).toEqual([
    { version: 1, name: 'event store' },
    { version: 2, name: 'inbox and outbox' },
    { version: 3, name: 'stacks of parked events' },
    { version: 4, name: 'exact ends of the sequences' },
  ])
  await Promise.all(stores.map((one) => one.close()))
})

it('reports missing migrations at the start, with the remedy', async () => {
  const schema = freshSchema()
  await using stores = openStores({ schema, migrate: 'check' })

  const error = await stores.ready().catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(StoreSchemaError)
  expect(error).toMatchObject({ found: 0, needed: 4, message: expect.stringContaining("migrate: 'run'") })
  expect(await stores.migrations.list()).toMatchObject([
    { version: 1, isApplied: false },
    { version: 2, isApplied: false },
    { version: 3, isApplied: false },
    { version: 4, isApplied: false },
  ])
  expect((await stores.events.health()).status).toBe('down')
  // The next call looks again.
  await stores.migrations.run()
  await append(stores)
  expect(await stores.migrations.list()).toMatchObject([
    { version: 1, isApplied: true },
    { version: 2, isApplied: true },
    { version: 3, isApplied: true },
    { version: 4, isApplied: true },
  ])
})

it('can be printed and run by other tools', async () => {
  const schema = `o'neil "${freshSchema()}"`
  await using client = await connected()
  await client.query(postgresMigrationSql({ schema }))
  await using stores = openStores({ schema, migrate: 'check' })

  expect((await append(stores)).globalPosition).toBe(1)
  expect((await stores.events.deleteStream({ aggregateId: 'a', aggregateType: 'Note' })).newVersion).toBe(2)
  expect(postgresMigrationSql({ schema, after: 4 })).toBe('')
  await client.query(`drop schema ${client.escapeIdentifier(schema)} cascade`)
})

it('migrates the schema of an older release, and keeps its events', async () => {
  const schema = freshSchema()
  await using client = await connected()
  const [first = ''] = postgresMigrationSql({ schema }).split(/(?<=^commit;\n)/m)
  await client.query(first)
  await using stores = openStores({ schema })
  expect((await stores.migrations.list()).map(({ isApplied }) => isApplied)).toEqual([
    true,
    false,
    false,
    false,
  ])
  await append(stores)
  await stores.transaction((tx) => tx.outbox.add([noted('b')]))

  expect((await stores.migrations.list()).map(({ isApplied }) => isApplied)).toEqual([true, true, true, true])
  expect(await stores.outbox.headPosition()).toBe(1)
})

it('refuses a schema that is too new with both versions, and accepts a newer one that declares support for this release', async () => {
  const schema = freshSchema()
  await using first = openStores({ schema })
  await first.ready()
  await using client = await connected()
  const insert = `insert into "${schema}".migrations (version, name, checksum, oldest_library) values (7, 'later', '', $1)`

  await client.query(insert, [1])
  await using fits = openStores({ schema, migrate: 'check' })
  await append(fits)
  await client.query(`update "${schema}".migrations set oldest_library = 7 where version = 7`)
  for (const migrate of ['check', 'run'] as const) {
    await using tooOld = openStores({ schema, migrate })
    await expect(tooOld.ready()).rejects.toMatchObject({ code: 'STORE_SCHEMA', found: 7, needed: 4 })
  }
  await using unchecked = openStores({ schema, migrate: 'off' })
  await append(unchecked)
})

it('refuses a migration that was changed manually', async () => {
  const schema = freshSchema()
  await using first = openStores({ schema })
  await first.ready()
  await using client = await connected()
  await client.query(`update "${schema}".migrations set checksum = 'another'`)
  await using stores = openStores({ schema, migrate: 'check' })

  await expect(stores.ready()).rejects.toThrow('it may have been changed manually')
})

it('lets a role without the right to create objects run a service, and names a missing right', async () => {
  const schema = freshSchema()
  await using owner = openStores({ schema })
  await owner.ready()
  await using client = await connected()
  await client.query(`create role ${schema} login`)
  const url = new URL(inject('postgresUrl'))
  url.username = schema
  await using stores = openStores({ schema, migrate: 'check', postgresUrl: url.href })
  await expect(append(stores)).rejects.toBeInstanceOf(PostgresPermissionError)

  await client.query(
    `grant usage on schema ${schema} to ${schema};
     grant select, insert, update, delete on all tables in schema ${schema} to ${schema};
     grant usage, select on all sequences in schema ${schema} to ${schema}`,
  )
  await append(stores)
  await stores.transaction(async (tx) => {
    await append(tx, 'b')
    await tx.inbox.add('handler', 'event')
    await tx.outbox.add([noted('c')])
  })
  expect(await stores.outbox.headPosition()).toBe(1)
  expect(await stores.leases.acquire('lease', 'me', 1000)).toBeDefined()
  await stores.checkpoints.save(
    'c',
    { position: 1, storeId: undefined, eventId: undefined, fence: 1 },
    undefined,
  )
  await stores.events.deleteStream({ aggregateId: 'a', aggregateType: 'Note' })
  expect((await stores.events.readPage()).events).toHaveLength(2)
  expect((await stores.events.health()).status).toBe('up')

  // Without it, a position that cannot be read must not count as none.
  await client.query(`revoke select, usage on all sequences in schema ${schema} from ${schema}`)
  await expect(append(stores, 'd')).rejects.toBeInstanceOf(PostgresPermissionError)
  await expect(stores.events.readPage({ fromPosition: 1 })).rejects.toBeInstanceOf(PostgresPermissionError)
  await client.query(`drop owned by ${schema}; drop role ${schema}`)
})
