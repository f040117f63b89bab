import { Pool } from 'pg'
import { expect, inject, it } from 'vitest'
import {
  handlerFor,
  InMemoryCheckpointStore,
  StoreFullError,
  StoreOutcomeUnknownError,
  StoreReadOnlyError,
  StoreUnavailableError,
  SubscriptionManager,
} from '../../src/index.ts'
import { PostgresPoolExhaustedError, PostgresStores, PostgresTimeoutError } from '../../src/postgres/index.ts'
import { Noted, noted } from '../../src/testing/conformance/events.ts'
import { launchBroker } from '../brokers/launch-broker.ts'
import { paced } from '../support/pace.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { connected, freshSchema, openStores } from './postgres-scene.ts'

type Events = Pick<PostgresStores['events'], 'appendEvents'>

const append = (events: Events, aggregateId: string, event = noted(aggregateId)) =>
  events.appendEvents({ aggregateId, aggregateType: 'Note', events: [event], expectedVersion: 'any' })

it('settles appends with an unknown outcome by repeating them after the server was killed, and subscriptions continue', {
  timeout: paced(120_000),
}, async () => {
  await using server = await launchBroker('postgres')
  const logger = new RecordingLogger()
  await using stores = openStores({ postgresUrl: server.url, logger })
  const handled: string[] = []
  await using manager = new SubscriptionManager({
    eventStore: stores.events,
    checkpoints: new InMemoryCheckpointStore(),
    logger,
  })
  const handler = handlerFor(Noted, ({ eventId }) => void handled.push(eventId))
  manager.subscribe({ name: 's', handlers: [handler] })
  manager.start()
  const sent = Array.from({ length: 300 }, (_, index) => noted(`a${index % 10}`, index))
  let failures = 0
  const sending = Array.from({ length: 4 }, async (_, lane) => {
    for (const event of sent.filter((__, index) => index % 4 === lane)) {
      for (;;) {
        try {
          await append(stores.events, event.aggregateId, event)
          break
        } catch (error) {
          expect([StoreOutcomeUnknownError, StoreUnavailableError]).toContain(Object(error).constructor)
          failures += 1
          await new Promise((resolve) => setTimeout(resolve, 20))
        }
      }
    }
  })
  await expect.poll(() => handled.length, { timeout: paced(20_000) }).toBeGreaterThan(20)
  await server.kill()
  await expect.poll(() => failures, { timeout: paced(20_000) }).toBeGreaterThan(0)
  await server.start()
  await Promise.all(sending)
  await manager.whenCaughtUp('s')

  expect(handled.toSorted()).toEqual(sent.map(({ eventId }) => eventId).toSorted())
  const polling = logger.lines.filter(({ message }) => message.startsWith('wake-ups by NOTIFY do not'))
  expect(polling).toHaveLength(1)
})

it('reports a read-only server, and continues with new connections', {
  timeout: paced(60_000),
}, async () => {
  await using server = await launchBroker('postgres')
  await using stores = openStores({ postgresUrl: server.url })
  await append(stores.events, 'a')
  await using client = await connected(server.url)
  await client
    .query('alter system set default_transaction_read_only = on; select pg_reload_conf()')
    .catch(() => undefined)
  await client.query('alter system set default_transaction_read_only = on')
  await client.query('select pg_reload_conf()')

  await expect
    .poll(() => append(stores.events, 'b').catch((error: unknown) => error), { timeout: paced(10_000) })
    .toBeInstanceOf(StoreReadOnlyError)
  expect((await stores.events.readPage()).events.length).toBeGreaterThan(0)
  await client.query('set default_transaction_read_only = off')
  await client.query('alter system reset default_transaction_read_only')
  await client.query('select pg_reload_conf()')
  await expect
    .poll(
      () =>
        append(stores.events, 'c').then(
          () => 'stored',
          () => 'refused',
        ),
      { timeout: paced(10_000) },
    )
    .toBe('stored')
})

it('reports the size of an exhausted pool, while leases are still renewed', async () => {
  await using pool = disposable(
    new Pool({ connectionString: inject('postgresUrl'), max: 2, connectionTimeoutMillis: 100 }),
  )
  await using stores = new PostgresStores({
    pool,
    schema: freshSchema(),
    migrate: 'run',
    logger: new RecordingLogger(),
  })
  await stores.ready()
  const [first, second] = [await pool.connect(), await pool.connect()]

  const refused = await append(stores.events, 'a').catch((error: unknown) => error)
  expect(refused).toBeInstanceOf(PostgresPoolExhaustedError)
  expect(refused).toMatchObject({ retryable: true, message: expect.stringContaining('All 2 connections') })
  expect(await stores.leases.acquire('lease', 'me', 1000)).toBeDefined()
  first.release()
  second.release()
  expect((await append(stores.events, 'a')).globalPosition).toBe(1)
})

it('throws a typed error for a statement that takes too long, and continues', async () => {
  const schema = freshSchema()
  const url = new URL(inject('postgresUrl'))
  url.searchParams.set('options', '-c statement_timeout=300')
  await using stores = openStores({ schema, postgresUrl: url.href })
  await append(stores.events, 'a')
  await using client = await connected()
  await client.query('begin')
  await client.query(`lock table "${schema}".events in access exclusive mode`)

  await expect(append(stores.events, 'b')).rejects.toBeInstanceOf(PostgresTimeoutError)
  await client.query('rollback')
  expect((await append(stores.events, 'b')).newVersion).toBe(1)
})

it('stores no append partially while the disk is full, and works again when there is space', async () => {
  const schema = freshSchema()
  await using stores = openStores({ schema })
  await append(stores.events, 'a')
  await using client = await connected()
  // The server reports a full disk with this code, wherever in a statement it meets it.
  await client.query(
    `create function "${schema}".full_disk() returns trigger language plpgsql as
     $$ begin if new.payload->>'n' = '2' then raise exception 'could not extend file' using errcode = 'disk_full'; end if;
     return new; end $$;
     create trigger full_disk before insert on "${schema}".events for each row execute function "${schema}".full_disk()`,
  )
  const events = [1, 2, 3].map((n) => noted('b', n))
  const all = { aggregateId: 'b', aggregateType: 'Note', events, expectedVersion: 0 }

  await expect(stores.events.appendEvents(all)).rejects.toBeInstanceOf(StoreFullError)
  expect((await stores.events.getEvents('b')).version).toBe(0)
  await client.query(`drop trigger full_disk on "${schema}".events`)
  expect((await stores.events.appendEvents(all)).newVersion).toBe(3)
})

it('does not fail other appends of a group if the server refuses one', async () => {
  const schema = freshSchema()
  await using stores = openStores({ schema })
  await stores.ready()
  await using client = await connected()
  await client.query(
    `alter table "${schema}".events add constraint no_thirteen check (payload->>'n' <> '13')`,
  )

  const outcomes = await Promise.allSettled(
    Array.from({ length: 30 }, (_, n) => append(stores.events, `a${n}`, noted(`a${n}`, n))),
  )

  const refused = outcomes.flatMap(({ status }, index) => (status === 'rejected' ? [index] : []))
  expect(refused).toEqual([13])
})

it('does not delay other appends if one waits for a transaction of a caller', async () => {
  await using stores = openStores()
  await stores.ready()
  await using client = await connected()
  await client.query('begin')
  await append(stores.within(client).events, 'held')

  const waiting = append(stores.events, 'held')
  const others = Array.from({ length: 40 }, (_, index) => append(stores.events, `a${index}`))
  expect(await Promise.all(others)).toHaveLength(40)
  await client.query('commit')
  expect((await waiting).newVersion).toBe(2)
})

it('passes a deadlock in statements of the caller to the caller', async () => {
  await using stores = openStores()
  await stores.ready()
  await using one = await connected()
  await using two = await connected()
  for (const client of [one, two]) await client.query('begin')
  await append(stores.within(one).events, 'a')
  await append(stores.within(two).events, 'b')

  const outcomes = await Promise.allSettled([
    append(stores.within(one).events, 'b'),
    append(stores.within(two).events, 'a'),
  ])
  expect(outcomes.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: '40P01' } })
  for (const client of [one, two]) await client.query('rollback')
})

it('shows no password in an error', async () => {
  const url = new URL(inject('postgresUrl'))
  url.port = '1'
  url.password = 'geheim'
  await using stores = openStores({ postgresUrl: url.href })

  const error = await stores.ready().catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(StoreUnavailableError)
  expect(JSON.stringify(error) + String(error)).not.toContain('geheim')
  expect(() => new PostgresStores({ postgresUrl: 'mysql://root:geheim@host' })).toThrow(/^(?!.*geheim)/)
})

function disposable(pool: Pool): Pool & AsyncDisposable {
  return Object.assign(pool, { [Symbol.asyncDispose]: () => pool.end() })
}
