import { Pool } from 'pg'
import { expect, inject, it } from 'vitest'
import { PassedOnEvent } from '../../src/events/passed-on-event.ts'
import { type FeedPage, GenericEvent, JsonCodec } from '../../src/index.ts'
import { PostgresFeedError, PostgresStores, PostgresValueError } from '../../src/postgres/index.ts'
import { noted } from '../../src/testing/conformance/events.ts'
import { OrderCreated } from '../support/order-events.ts'
import { connected, freshSchema, openStores } from './postgres-scene.ts'

type Events = Pick<PostgresStores['events'], 'appendEvents'>

const append = (events: Events, aggregateId: string) =>
  events.appendEvents({
    aggregateId,
    aggregateType: 'Note',
    events: [noted(aggregateId)],
    expectedVersion: 'any',
  })

it('is held back only by an open append, and reports the session that holds it back', async () => {
  await using stores = openStores({ heldBackWarningMs: 50 })
  await append(stores.events, 'a')
  await using writer = await connected(undefined, { application_name: 'shop writer' })
  await using stranger = await connected()
  await stranger.query('begin')
  await stranger.query('create table if not exists pg_temp.elsewhere (n int)')
  await stranger.query('insert into pg_temp.elsewhere values (1)')
  expect(await stores.events.headPosition()).toBe(1)

  await writer.query('begin')
  await append(stores.within(writer).events, 'b')
  await append(stores.events, 'c')

  await expect.poll(async () => (await stores.events.health()).status).toBe('degraded')
  const { heldBack, problems } = await stores.events.health()
  expect(heldBack).toMatchObject({ position: 1, session: expect.stringContaining('shop writer') })
  expect(problems).toEqual([expect.stringContaining('idle in transaction')])
  expect(await stores.events.headPosition()).toBe(1)
  await writer.query('commit')
  await stranger.query('rollback')

  expect(await stores.events.health()).toEqual({ status: 'up', problems: [], heldBack: undefined })
  const { events } = await stores.events.readPage()
  expect(events.map(({ event }) => event.aggregateId)).toEqual(['a', 'b', 'c'])
})

it('names the prepared transaction that holds it back', async () => {
  const schema = freshSchema()
  // A transaction that has notified cannot be prepared.
  await using stores = openStores({ schema, wakeUp: 'poll' })
  await stores.ready()
  await using writer = await connected()
  await writer.query('begin')
  await append(stores.within(writer).events, 'a')
  await writer.query(`prepare transaction '${schema}'`)
  await append(stores.events, 'b')

  expect((await stores.events.health()).heldBack?.session).toBe(`the prepared transaction ${schema}`)
  await writer.query(`rollback prepared '${schema}'`)
  expect(await stores.events.headPosition()).toBe(2)
})

it('returns the same feed if the database defaults to SERIALIZABLE', async () => {
  const url = new URL(inject('postgresUrl'))
  url.searchParams.set('options', '-c default_transaction_isolation=serializable')
  await using stores = openStores({ postgresUrl: url.href })

  await Promise.all(Array.from({ length: 20 }, (_, index) => append(stores.events, `a${index % 3}`)))

  const level = await stores.transaction((tx) => tx.client.query({ text: 'show transaction_isolation' }))
  expect(level.rows).toEqual([{ transaction_isolation: 'serializable' }])
  expect((await stores.events.readPage()).events).toHaveLength(20)
})

it.each([
  ['event types', { eventTypes: ['OrderCreated', 'Absent'] }, 'events_by_type'],
  ['aggregate types', { aggregateTypes: ['Order'] }, 'events_by_aggregate_type'],
  ['a tenant', { tenantId: 'acme' }, 'events_by_tenant'],
  ['a correlation id', { correlationId: 'the one' }, 'events_by_correlation'],
])('finds the few events of %s among many by an index', async (_what, filter, index) => {
  const asked: { text: string; values: unknown[] }[] = []
  await using pool = recordingPool(asked)
  await using stores = new PostgresStores({ pool, schema: freshSchema(), migrate: 'run' })
  const many = Array.from({ length: 3000 }, (_, n) => noted('many', n))
  const stream = { aggregateId: 'many', aggregateType: 'Note', expectedVersion: 'any' as const }
  await stores.events.appendEvents({ ...stream, events: many })
  const rare = new OrderCreated({
    ...{ aggregateId: 'Order-1', customerId: 'c', tenantId: 'acme', correlationId: 'the one' },
  })
  await stores.events.appendEvents({ ...rare, events: [rare], expectedVersion: 0 })

  const { events } = await stores.events.readPage(filter)

  expect(events.map(({ event }) => event.eventId)).toEqual([rare.eventId])
  const read = asked.at(-1)
  await using client = await connected()
  await client.query(`set plan_cache_mode = force_generic_plan; prepare page as ${read?.text}`)
  const given = read?.values.map((value) => client.escapeLiteral(literalOf(value))).join(', ')
  for (const statistics of ['', `analyze ${/"test_\w+"/.exec(read?.text ?? '')?.[0]}.events`]) {
    await client.query(statistics)
    const { rows } = await client.query<Record<string, string>>(`explain execute page (${given})`)
    const plan = rows.map((row) => row['QUERY PLAN']).join('\n')
    expect(plan).toContain(`using ${index} on`)
    expect(plan).not.toContain('Seq Scan')
    // The primary key serves the positions that were found, and nothing else.
    expect(plan).not.toContain('"position" > $1)')
  }
})

const literalOf = (value: unknown): string =>
  Array.isArray(value) ? `{${value.map((one) => JSON.stringify(one)).join(',')}}` : String(value)

/** A pool that records the statements of its clients. */
function recordingPool(
  asked: { text: string; values: unknown[] }[],
  options?: string,
): Pool & AsyncDisposable {
  const pool = new Pool({ connectionString: inject('postgresUrl'), max: 2, options })
  pool.on('connect', (client) => {
    const query = client.query.bind(client)
    Reflect.set(client, 'query', (config: { text: string; values: unknown[] }, ...rest: unknown[]) => {
      if (typeof config === 'object' && 'text' in config) asked.push(config)
      return Reflect.apply(query, client, [config, ...rest])
    })
  })
  return Object.assign(pool, { [Symbol.asyncDispose]: () => pool.end() })
}

it('finds the position before a time although stored times decrease', async () => {
  const schema = freshSchema()
  await using stores = openStores({ schema })
  for (const id of ['a', 'b', 'c']) await append(stores.events, id)
  await using client = await connected()
  const at = ['2026-01-01 10:00', '2026-01-01 12:00', '2026-01-01 11:00']
  for (const [index, time] of at.entries()) {
    await client.query(`update "${schema}".events set stored_at = '${time}+00' where position = ${index + 1}`)
  }

  const before = (hour: number) => stores.events.positionBefore(new Date(Date.UTC(2026, 0, 1, hour, 30)))
  expect(await before(9)).toBe(0)
  // The third event was also stored before 11:30, but is after one that was stored later.
  expect(await before(11)).toBe(1)
  expect(await before(12)).toBe(3)
})

it('finds the position before any time while many transactions write and commit out of order', async () => {
  const schema = freshSchema()
  await using stores = openStores({ schema, poolSize: 8 })
  const times: Date[] = []
  const found: number[] = []
  const writer = async (name: string) => {
    for (let round = 0; round < 15; round += 1) {
      await stores.transaction(async (tx) => {
        await append(tx.events, `${name}-${round}`)
        // Held open, so that others draw later positions and commit first.
        await append(stores.within(tx.client).events, `${name}-${round}-again`)
        times.push(new Date())
      })
      found.push(await stores.events.positionBefore(new Date(Date.now() + 60_000)))
    }
  }
  await Promise.all(['a', 'b', 'c', 'd', 'e', 'f'].map(writer))

  await using client = await connected()
  const { rows } = await client.query<{ position: string; stored_at: Date }>(
    `select position, stored_at from "${schema}".events order by position`,
  )
  expect(rows).toHaveLength(180)
  for (const time of times) {
    const first = rows.findIndex(({ stored_at }) => stored_at >= time)
    const expected = first < 0 ? rows.at(-1) : rows[first - 1]
    expect(await stores.events.positionBefore(time)).toBe(Number(expected?.position ?? 0))
  }
  // Each position that was found was an end of the feed: no event was added at or before it.
  const positions = rows.map(({ position }) => Number(position))
  for (const position of found) expect([0, ...positions]).toContain(position)
})

it('ends a page at its maximum size', async () => {
  const asked: { text: string; values: unknown[] }[] = []
  await using pool = recordingPool(asked)
  await using stores = new PostgresStores({ pool, schema: freshSchema(), migrate: 'run' })
  const event = (n: number) =>
    new GenericEvent({
      ...{ aggregateId: 'large', aggregateType: 'Note', eventType: 'Generic' },
      data: { n, text: 'ä'.repeat(200_000) },
    })
  for (let n = 0; n < 6; n += 1) {
    const one = event(n)
    await stores.events.appendEvents({ ...one, events: [one], expectedVersion: 'any' })
  }

  const firstPage = async () => {
    // A megabyte by default: three of 400,000 bytes reach it.
    expect(await stores.events.readPage()).toMatchObject({ isCut: true, events: { length: 3 } })
    const read = asked.at(-1)
    return (await pool.query(read?.text ?? '', read?.values)).rows.length
  }
  expect(await firstPage()).toBe(1 + 3) // the row with the end of the feed
  const seen: number[] = []
  for await (const { position } of stores.events.readAll()) seen.push(position)
  expect(seen).toEqual([1, 2, 3, 4, 5, 6])

  const many = Array.from({ length: 120 }, (_, n) => noted('many', n))
  const stream = { aggregateId: 'many', aggregateType: 'Note', expectedVersion: 'any' as const }
  await stores.events.appendEvents({ ...stream, events: many })
  expect(await firstPage()).toBe(3) // too far from the end to be read with it
})

it('reads the end and the next events in one statement, unless both would have one snapshot', async () => {
  const asked: { text: string; values: unknown[] }[] = []
  await using pool = recordingPool(asked)
  const schema = freshSchema()
  await using stores = new PostgresStores({ pool, schema, migrate: 'run' })
  const first = await append(stores.events, 'a')
  await append(stores.events, 'b')
  const next = async () => {
    const before = asked.length
    const page = await stores.events.readPage({ fromPosition: first.globalPosition })
    expect(page).toMatchObject({ head: 2, events: [{ event: { aggregateId: 'b' } }] })
    return asked.length - before
  }

  expect(await next()).toBe(1)
  await using repeatable = recordingPool(asked, '-c default_transaction_isolation=repeatable\\ read')
  await using strict = new PostgresStores({ pool: repeatable, schema })
  await strict.ready()
  const before = asked.length
  expect((await strict.events.readPage()).events).toHaveLength(2)
  expect(asked.length - before).toBe(2)
})

it('reads the same events with the end of the feed as without', async () => {
  await using stores = openStores()
  const tenants = ['acme', 'other', undefined]
  for (let n = 0; n < 60; n += 1) {
    const tenantId = tenants[n % 3]
    const event = new GenericEvent({
      ...{ aggregateId: `a${n}`, aggregateType: `T${n % 2}`, eventType: `E${n % 5}`, data: { n } },
      ...{ correlationId: `c${n % 4}`, metadata: { n } },
      ...(tenantId !== undefined && { tenantId }),
    })
    await stores.events.appendEvents({ ...event, events: [event], expectedVersion: 0 })
  }
  const filters = [
    {},
    { eventTypes: ['E1', 'E3', 'Absent'] },
    { eventTypes: [] },
    { aggregateTypes: ['T1'], tenantId: 'acme' },
    { correlationId: 'c2', eventTypes: ['E0', 'E2'], maxBytes: 20 },
    { tenantId: 'other', aggregateTypes: ['T0'], correlationId: 'c1' },
  ]
  for (const filter of filters) {
    for (const fromPosition of [0, 20, 59, 60, 70]) {
      const range = { ...filter, fromPosition, limit: 40 }
      const { fromEventId, ...near } = await stores.events.readPage(range)
      const other = await stores.events.readPage({ ...range, toPosition: 60 })
      expect(near).toEqual(other)
      for (const includeArchived of [false, true]) {
        const undecoded = await stores.events.readPage({
          ...{ ...range, toPosition: 60, includeArchived, undecoded: true },
        })
        expect(asMessages(undecoded)).toEqual(asMessages(other))
      }
      const [before] = (await stores.events.readPage({ fromPosition: fromPosition - 1, limit: 1 })).events
      const isThere = fromPosition > 0 && before?.position === fromPosition
      expect(fromEventId).toBe(isThere ? before.event.eventId : undefined)
    }
  }
})

it('reads undecoded what it reads decoded, also if an id has the characters that separate columns and rows', async () => {
  await using stores = openStores()
  for (const aggregateId of ['a', 'a\x1f\x1eb', 'last']) await append(stores.events, aggregateId)
  const range = { toPosition: 3 }
  const undecoded = await stores.events.readPage({ ...range, undecoded: true })

  expect(undecoded.events.map(({ event }) => event instanceof PassedOnEvent)).toEqual([true, true, true])
  expect(asMessages(undecoded)).toEqual(asMessages(await stores.events.readPage(range)))
})

/** A page with its events as a bus would publish them. */
function asMessages({ events, ...page }: FeedPage): object {
  const codec = new JsonCodec()
  return { ...page, events: events.map(({ event, ...place }) => ({ ...codec.encode(event), ...place })) }
}

it('refuses values that the server cannot store before it sends them', async () => {
  await using stores = openStores()
  const refused = (input: { aggregateId: string; eventId?: string; tenantId?: string }) => {
    const event = new GenericEvent({ ...input, aggregateType: 'Note', eventType: 'Generic', data: {} })
    const request = { aggregateId: input.aggregateId, aggregateType: 'Note', events: [event] }
    return expect(stores.events.appendEvents({ ...request, expectedVersion: 'any' })).rejects
  }

  await refused({ aggregateId: 'a\0' }).toBeInstanceOf(PostgresValueError)
  await refused({ aggregateId: 'é'.repeat(5000) }).toThrow('the aggregateId has 10000 bytes')
  await refused({ aggregateId: 'a', eventId: 'x'.repeat(3000) }).toBeInstanceOf(PostgresValueError)
  await expect(stores.events.deleteStream({ aggregateId: '\ud800', aggregateType: 'Note' })).rejects.toThrow(
    'not well-formed',
  )
  const hostile = new GenericEvent({
    aggregateId: `a'"; drop table events; --`,
    aggregateType: 'Note',
    eventType: 'Generic',
    data: { text: '\0\ud800\u2028', big: 2n ** 80n, deep: { of: ['\\', '"', '\n'] } },
  })
  await stores.events.appendEvents({ ...hostile, events: [hostile], expectedVersion: 0 })
  const [found] = (await stores.events.getEvents(hostile.aggregateId)).events
  expect(found).toMatchObject({ data: hostile.data })
})

it('stores an event of any year that an event may have', async () => {
  await using stores = openStores()
  for (const [index, year] of [1, 9999].entries()) {
    const occurredAt = new Date(0)
    occurredAt.setUTCFullYear(year, 2, 15)
    const name = { aggregateId: `Order-${index}`, aggregateType: 'Order' }
    const event = new GenericEvent({ ...name, eventType: 'Dated', occurredAt, data: {} })
    await stores.events.appendEvents({ ...name, events: [event], expectedVersion: 0 })
    const [found] = (await stores.events.getEvents(`Order-${index}`)).events
    expect(found?.occurredAt).toEqual(occurredAt)
  }
})

it('refuses to read from a standby, with the reason', async () => {
  const schema = freshSchema()
  await using stores = openStores({ schema })
  await append(stores.events, 'a')
  await using client = await connected()
  // The answer of a standby. Its data are those of the primary.
  await client.query(
    `alter function "${schema}".feed_end() rename to feed_end_of_primary;
     create function "${schema}".feed_end()
     returns table (head bigint, head_event_id text, is_held boolean, is_replica boolean) language sql as
     'select head, head_event_id, false, true from "${schema}".feed_end_of_primary()'`,
  )

  await expect(stores.events.readPage()).rejects.toBeInstanceOf(PostgresFeedError)
  await using serialized = openStores({ schema, order: 'serialized' })
  expect((await serialized.events.readPage()).events).toHaveLength(1)
})
