import { expect, inject, it, onTestFinished } from 'vitest'
import { GenericEvent, SubscriptionManager } from '../../src/index.ts'
import { PostgresPermissionError, PostgresValueError } from '../../src/postgres/index.ts'
import { Noted, noted } from '../../src/testing/conformance/events.ts'
import { testChangedRows } from '../store/changed-rows.ts'
import { paced } from '../support/pace.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { connected, dropSchema, freshSchema, openStores } from './postgres-scene.ts'

it.each([
  `"; drop schema public cascade; --`,
  `it's \\ "quoted"`,
  'select',
  'UPPER lower',
  '{schema}.',
  "e'\\x27",
  'ümläut 事件 🎉',
  'a.b',
  'x'.repeat(63),
  "%s $1 & $' ,".replaceAll('$', '%'),
])('has all stores in a schema with the name %s', async (name) => {
  const schema = `${name.slice(0, 54)}${freshSchema().slice(5)}`.slice(0, 63)
  const stores = openStores({ schema, events: [Noted] })
  const { events: eventStore, checkpoints, leases, deadLetters } = stores
  const append = (id: string) => {
    const event = noted(id)
    return eventStore.appendEvents({ ...event, events: [event], expectedVersion: 'any' })
  }
  try {
    await Promise.all(['a', 'b', 'c', 'd', 'e', 'f'].map(append))
    await stores.transaction(async (tx) => {
      const event = noted('g')
      await tx.events.appendEvents({ ...event, events: [event], expectedVersion: 0 })
    })
    const logger = new RecordingLogger()
    await using manager = new SubscriptionManager({ eventStore, checkpoints, leases, deadLetters, logger })
    const handled: number[] = []
    manager.subscribe({ name: 's', handle: () => void handled.push(1) }, { onFailure: 'deadLetter' })
    manager.start()
    await manager.whenCaughtUp('s')
    expect(handled).toHaveLength(7)
    await manager.stop()
    expect(await eventStore.archive({ upTo: 3 })).toBe(3)
    await eventStore.deleteStream({ aggregateId: 'g', aggregateType: 'Note' })
    await using copy = openStores({ events: [Noted] })
    expect(await copy.events.import(eventStore.export())).toBe(7)
    expect(await eventStore.import(copy.events.export())).toBe(0)
    expect((await eventStore.health()).status).toBe('up')
  } finally {
    await stores.close()
    await dropSchema(schema)
  }
})

testChangedRows(async () => {
  const schema = freshSchema()
  const stores = openStores({ schema, events: [Noted] })
  await stores.ready()
  const client = await connected()
  return {
    stores,
    async change(column, value, position) {
      await client.query(`update "${schema}".events set ${column} = $1 where position = $2`, [
        value,
        position,
      ])
    },
    async [Symbol.asyncDispose]() {
      await client.end()
      await stores.close()
      await dropSchema(schema)
    },
  }
}, [
  ['occurred_at', 'infinity'],
  ['stored_at', 'infinity'],
  // The index of the table holds no longer one. It compresses it.
  ['event_type', 'x'.repeat(100_000)],
])

it('stores a payload of 50 MB, and refuses one that is too large for the server before it is sent', {
  timeout: paced(120_000),
}, async () => {
  await using stores = openStores()
  const name = { aggregateId: 'large', aggregateType: 'File', eventType: 'Stored' }
  const append = (length: number, expectedVersion: number) => {
    const event = new GenericEvent({ ...name, data: { text: 'x'.repeat(length) } })
    return stores.events.appendEvents({ ...name, events: [event], expectedVersion })
  }

  expect((await append(50_000_000, 0)).newVersion).toBe(1)
  const [found] = (await stores.events.readPage()).events
  expect(Reflect.get(Object(Reflect.get(Object(found?.event), 'data')), 'text')).toHaveLength(50_000_000)
  await expect(append(300_000_000, 1)).rejects.toBeInstanceOf(PostgresValueError)
  expect((await append(10, 1)).newVersion).toBe(2)
})

it('prunes parked events while another transaction holds one of them, without waiting for it', async () => {
  const schema = freshSchema()
  await using stores = openStores({ schema })
  const failedAt = new Date('2026-01-01T00:00:00Z')
  const failure = { errorName: 'Error', errorMessage: 'no', attempts: 1, handlerNames: [] }
  for (const position of [1, 2, 3]) {
    const parked = { subscription: 's', position, event: noted('a'), ...failure }
    await stores.deadLetters.add({ ...parked, firstFailedAt: failedAt, failedAt })
  }
  await using client = await connected()
  await client.query('begin')
  await client.query(`select from "${schema}".parked_events where position = 2 for update`)

  expect(await stores.deadLetters.prune(new Date())).toBe(2)
  expect((await stores.deadLetters.list()).map(({ position }) => position)).toEqual([2])
  await client.query('rollback')
  expect(await stores.deadLetters.prune(new Date())).toBe(1)
})

it('keeps its order after a freeze of all rows, and is vacuumed according to the settings of the table', async () => {
  const schema = freshSchema()
  await using stores = openStores({ schema })
  for (let n = 0; n < 20; n += 1) {
    const event = noted(`a${n % 3}`, n)
    await stores.events.appendEvents({ ...event, events: [event], expectedVersion: 'any' })
  }
  const ids = async () => (await stores.events.readPage()).events.map(({ event }) => event.eventId)
  const before = await ids()
  await using client = await connected()
  await client.query(`vacuum (freeze, full, analyze) "${schema}".events`)

  expect(await ids()).toEqual(before)
  const { rows } = await client.query(
    `select reloptions from pg_class where oid = '"${schema}".events'::regclass`,
  )
  expect(rows[0].reloptions).toContain('autovacuum_vacuum_insert_scale_factor=0.02')
})

it('shows a role only the events of its tenant if the table has a policy, and accepts none for other tenants', async () => {
  const schema = freshSchema()
  await using owner = openStores({ schema })
  const append = (stores: typeof owner, aggregateId: string, tenantId: string) => {
    const event = new Noted({ aggregateId, n: 0, text: '', tenantId })
    return stores.events.appendEvents({ ...event, events: [event], expectedVersion: 'any' })
  }
  for (const tenant of ['acme', 'globex', 'acme']) await append(owner, `of ${tenant}`, tenant)
  const policy = (table: string) =>
    `alter table ${schema}.${table} enable row level security;
     create policy tenant on ${schema}.${table} using (tenant_id = current_setting('app.tenant', true))`
  await using client = await connected()
  await client.query(
    `create role ${schema} login; grant usage on schema ${schema} to ${schema};
     grant select, insert, update, delete on all tables in schema ${schema} to ${schema};
     grant usage, select on all sequences in schema ${schema} to ${schema};
     ${policy('events')}; ${policy('events_archive')}`,
  )
  onTestFinished(async () => {
    await using last = await connected()
    await last.query(`drop owned by ${schema}; drop role ${schema}`)
  })
  const url = new URL(inject('postgresUrl'))
  url.username = schema
  url.searchParams.set('options', '-c app.tenant=acme')
  await using tenant = openStores({ schema, postgresUrl: url.href, migrate: 'check', events: [Noted] })
  await append(tenant, 'fresh', 'acme')

  const { events, head } = await tenant.events.readPage()
  expect(events.map(({ event }) => event.aggregateId)).toEqual(['of acme', 'of acme', 'fresh'])
  expect(head).toBe(4)
  expect((await tenant.events.getEvents('of globex')).version).toBe(0)
  await expect(append(tenant, 'other', 'globex')).rejects.toBeInstanceOf(PostgresPermissionError)
  await owner.events.archive({ upTo: 3 })
  const all: string[] = []
  for await (const { event } of tenant.events.export()) all.push(event.aggregateId)
  expect(all).toEqual(['of acme', 'of acme', 'fresh'])
})
