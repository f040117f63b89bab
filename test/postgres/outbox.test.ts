import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Pool } from 'pg'
import { expect, inject, it, onTestFinished } from 'vitest'
import { PassedOnEvent } from '../../src/events/passed-on-event.ts'
import {
  type DomainEvent,
  defineEvent,
  GenericEvent,
  JsonCodec,
  SubscriptionManager,
  TransactionRequiredError,
} from '../../src/index.ts'
import { type PostgresClient, PostgresValueError } from '../../src/postgres/index.ts'
import { noted } from '../../src/testing/conformance/events.ts'
import { dataFolder } from '../brokers/data-folder.ts'
import { waitFor } from '../support/wait-for.ts'
import { checkBacklog } from './outbox-check/backlog.ts'
import { connected, freshSchema, openStores } from './postgres-scene.ts'

class Noted extends defineEvent<{ readonly n: number }>()({ type: 'Noted', aggregateType: 'Note' }) {}

const context = {
  ...{ signal: new AbortController().signal, attempt: 1, deliveryCount: 1 },
  ...{ consumerGroup: undefined, messageId: undefined },
}

const NOTE = { eventType: 'Noted', aggregateType: 'Note', aggregateId: 'a', data: {} }

/** A client that does not say whether it is in a transaction. */
const reticent = (client: PostgresClient): PostgresClient => ({ query: (query) => client.query(query) })

it('refuses a pool instead of a connection, with an explanation', async () => {
  await using stores = openStores()
  await stores.ready()
  const pool = new Pool({ connectionString: inject('postgresUrl') })

  expect(() => stores.within(pool)).toThrow(TransactionRequiredError)
  expect(() => stores.within(pool)).toThrow(/needs an open transaction, got a pool: each statement would be/)
  await pool.end()
})

it.each([
  ['a client of pg', (client: PostgresClient) => client],
  ['a client that does not know', reticent],
])('refuses %s without a transaction, and adds in one', async (_what, wrapped) => {
  await using stores = openStores()
  await stores.ready()
  await using client = await connected()
  const tx = stores.within(wrapped(client))

  await expect(tx.outbox.add([noted('a')])).rejects.toMatchObject({ code: 'TRANSACTION_REQUIRED' })
  await expect(tx.inbox.add('handler', 'event')).rejects.toThrow(/inbox\.add needs an open transaction/)
  await client.query('begin')
  await tx.outbox.add([noted('a')])
  expect(await tx.inbox.add('handler', 'event')).toBe(true)
  expect(await stores.outbox.headPosition()).toBe(0)
  await client.query('commit')

  expect(await stores.outbox.headPosition()).toBe(1)
  expect(await stores.inbox.has('handler', 'event')).toBe(true)
})

it('publishes in another process after a transaction of the caller is committed', async () => {
  const schema = freshSchema()
  await using stores = openStores({ schema })
  await using other = openStores({ schema })
  await Promise.all([stores.ready(), other.ready()])
  await using client = await connected()
  const published = Promise.withResolvers<readonly DomainEvent[]>()
  await using manager = new SubscriptionManager({ eventStore: other.outbox })
  manager.relay({ publish: async (events) => published.resolve(events) }, { name: 'relay' })
  manager.start()
  const event = noted('a')
  await client.query('begin')
  await stores.within(client).outbox.add([event])
  await client.query('commit')

  expect((await published.promise).map(({ eventId }) => eventId)).toEqual([event.eventId])
})

it.each([
  ['ids as usual', 'a'],
  ['ids with the characters that separate columns and rows', 'a\x1f\x1eb'],
])('reads undecoded what it reads decoded: %s', async (_what, aggregateId) => {
  await using stores = openStores({ events: [Noted] })
  const events = [
    new Noted({ aggregateId, n: 1 }),
    new Noted({
      aggregateId,
      n: 2,
      tenantId: 'ä "1"',
      actorId: 'b',
      causationId: 'c',
      metadata: { d: '=e' },
    }),
    new GenericEvent({ eventType: 'Unknown', aggregateType: 'Note', aggregateId, data: {} }),
    new Noted({ aggregateId: 'last', n: 3, occurredAt: new Date('2026-01-02T03:04:05.070Z') }),
  ]
  await stores.transaction((tx) => tx.outbox.add(events))
  const codec = new JsonCodec()
  const decoded = await stores.outbox.readPage()
  const undecoded = await stores.outbox.readPage({ undecoded: true })

  expect(decoded.events.map(({ event }) => event.eventId)).toEqual(events.map(({ eventId }) => eventId))
  expect(undecoded.events.map(({ event }) => event instanceof PassedOnEvent)).not.toContain(false)
  expect(undecoded.events.map(({ event, ...place }) => ({ ...codec.encode(event), ...place }))).toEqual(
    decoded.events.map(({ event, ...place }) => ({ ...codec.encode(event), ...place })),
  )
  expect({ ...undecoded, events: [] }).toEqual({ ...decoded, events: [] })
  expect(await stores.outbox.readPage({ fromPosition: 4, toPosition: 9, undecoded: true })).toMatchObject({
    events: [],
  })
})

it('takes a bounded number of locks for a transaction with many aggregates, in the same order as other transactions', async () => {
  await using stores = openStores()
  const many = Array.from({ length: 5000 }, (_, n) => noted(`a${n}`, n))
  await stores.transaction((tx) => tx.outbox.add(many))
  await using client = await connected()
  await client.query('begin')
  await stores.within(client).outbox.add(many.slice(0, 1000))
  await client.query('set constraints all immediate') // as the commit does
  const { rows } = await client.query<{ n: number }>(
    "select count(*)::int as n from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'",
  )
  await client.query('rollback')

  expect(rows[0]?.n).toBeLessThanOrEqual(70)
  const { events } = await stores.outbox.readPage({ limit: 5000 })
  expect(events.map(({ event }) => event.eventId)).toEqual(many.map(({ eventId }) => eventId))
})

it('does not deadlock when transactions commit events of the same aggregates in opposite orders', async () => {
  await using stores = openStores({ poolSize: 8 })
  const ids = Array.from({ length: 20 }, (_, n) => `a${n}`)
  const commit = (aggregateIds: readonly string[]) =>
    stores.transaction((tx) => tx.outbox.add(aggregateIds.map((id) => noted(id))))
  for (let round = 0; round < 10; round += 1) {
    await Promise.all(Array.from({ length: 8 }, (_, n) => commit(n % 2 === 0 ? ids : ids.toReversed())))
  }

  expect(await stores.outbox.headPosition()).toBe(1600)
})

it('prunes old records by itself after the configured time', async () => {
  const schema = freshSchema()
  await using stores = openStores({ schema, inboxRetentionMs: 3_600_000 })
  await stores.ready()
  await using client = await connected()
  await client.query(
    `insert into ${schema}.inbox select 'handler', n::text, now() - interval '2 hours' from generate_series(1, 2500) n`,
  )
  const handler = stores.inbox.once('handler', async () => undefined)
  await handler.handle(noted('a'), context)

  await expect
    .poll(async () => (await client.query(`select count(*)::int as n from ${schema}.inbox`)).rows)
    .toEqual([{ n: 1 }])
})

it.each(['PostgreSQL', 'SQLite'])(
  'publishes a backlog in order, and leaves nothing in the outbox, on %s',
  async (name) => {
    const folder = await mkdtemp(join(dataFolder, 'eventspine-outbox-'))
    onTestFinished(() => rm(folder, { recursive: true, force: true }))
    const place =
      name === 'SQLite'
        ? { file: join(folder, 'outbox.db') }
        : { postgresUrl: inject('postgresUrl'), schema: freshSchema() }

    // A page has more events than a save removes at least.
    expect(await checkBacklog({ place, events: 6000, batchSize: 3000 })).toEqual([])
  },
)

it.each(['on', 'off'])(
  'records names and ids with any characters together with the start of the transaction, with standard_conforming_strings %s',
  async (setting) => {
    const pool = new Pool({
      connectionString: inject('postgresUrl'),
      options: `-c standard_conforming_strings=${setting}`,
    })
    await using stores = openStores({ pool, wakeUp: 'poll' })
    const texts = ["'; rollback; --", "\\'", 'a\\', "E'\\x41", '$1 $$ ü \u{1f600}', '\n"\t']
    const handled: string[] = []
    for (const text of texts) {
      const { handle } = stores.inbox.once(text, ({ eventId }) => void handled.push(eventId))
      for (let delivery = 1; delivery <= 2; delivery += 1)
        await handle(new GenericEvent({ ...NOTE, eventId: text }), context)
      expect(await stores.inbox.has(text, text)).toBe(true)
    }
    const { handle } = stores.inbox.once('a\0b', () => undefined)

    expect(handled).toEqual(texts)
    await expect(handle(noted('a'), context)).rejects.toThrow(PostgresValueError)
    await pool.end()
  },
)

it('handles once through clients that return one answer for several statements', async () => {
  const pool = new Pool({ connectionString: inject('postgresUrl') })
  const sent: string[] = []
  pool.on('connect', (client) => {
    const query = client.query.bind(client)
    Reflect.set(client, 'query', async (given: { readonly text: string }) => {
      sent.push(given.text)
      const answer: unknown = await query(given)
      return Array.isArray(answer) ? answer.at(-1) : answer
    })
  })
  await using stores = openStores({ pool, wakeUp: 'poll' })
  const handled: string[] = []
  const { handle } = stores.inbox.once('handler', ({ eventId }) => void handled.push(eventId))
  const events = [noted('a'), noted('b')]
  for (const event of [...events, ...events]) await handle(event, context)

  expect(handled).toEqual(events.map(({ eventId }) => eventId))
  // It is tried once.
  expect(sent.filter((text) => /^begin.*insert/.test(text))).toHaveLength(1)
  await pool.end()
})

it('adds no round trip to a handler that writes once', async () => {
  const sent: string[] = []
  const pool = new Pool({ connectionString: inject('postgresUrl') })
  pool.on('connect', (client) => {
    const query = client.query.bind(client)
    // The stores and the handler pass an object and await the result.
    Reflect.set(client, 'query', (given: { readonly text: string }) => {
      sent.push(given.text.split(' ')[0] ?? '')
      return query(given)
    })
  })
  await using stores = openStores({ pool, wakeUp: 'poll' })
  await stores.ready()
  const write = (client: PostgresClient) => client.query({ text: 'select 1' })
  const count = async (run: () => Promise<unknown>) => {
    sent.length = 0
    await run()
    return [...sent]
  }
  const { handle } = stores.inbox.once('handler', (_event, { tx }) => write(tx.client))
  const event = noted('a')
  await handle(noted('b'), context) // the first one also prunes
  await waitFor(() => sent.includes('delete'))
  expect(await count(() => stores.transaction(({ client }) => write(client)))).toEqual([
    'begin;',
    'select',
    'commit',
  ])
  expect(await count(async () => handle(event, context))).toEqual(['begin;', 'select', 'commit'])
  expect(await count(async () => handle(event, context))).toEqual(['begin;', 'commit'])
  await pool.end()
})
