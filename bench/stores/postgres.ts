import { randomUUID } from 'node:crypto'
import type { DomainEvent } from 'eventspine'
import { PostgresStores, type PostgresStoresOptions, postgresMigrationSql } from 'eventspine/postgres'
import { Pool, type PoolClient } from 'pg'
import { launchBroker } from '../../test/brokers/launch-broker.ts'
import { addressVariables } from '../../test/brokers/shared-brokers.ts'
import { sized } from '../arguments.ts'
import { compare, rate } from '../harness.ts'
import {
  concurrently,
  freshId,
  OrderPlaced,
  OrderShipped,
  placed,
  placedTimes,
  type StoreBench,
} from './store-bench.ts'

const FEED = sized(200_000)

const COLUMNS =
  'event_id, aggregate_type, aggregate_id, aggregate_version, event_type, event_version, correlation_id, occurred_at, payload'

/** The columns that a reader needs, as text. */
const READ =
  'position, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, event_version, tenant_id, ' +
  'correlation_id, causation_id, actor_id, occurred_at, stored_at, payload::text, metadata::text'

/** The bare client on the same tables and indexes, with naive inserts: one statement for all events. */
function openBare(pool: Pool, schema: string) {
  const insert = {
    name: `bare_${schema}`,
    text:
      `insert into ${schema}.events (${COLUMNS}) select * from unnest($1::text[], $2::text[], $3::text[], $4::int[], ` +
      '$5::text[], $6::int[], $7::text[], $8::timestamptz[], $9::json[])',
  }
  const write = async (events: readonly DomainEvent[], client: Pool | PoolClient = pool) => {
    const values = [
      events.map(({ eventId }) => eventId),
      events.map(({ aggregateType }) => aggregateType),
      events.map(({ aggregateId }) => aggregateId),
      events.map((_, index) => index + 1),
      events.map(({ eventType }) => eventType),
      events.map(() => 1),
      events.map(({ correlationId }) => correlationId),
      events.map(({ occurredAt }) => occurredAt.toISOString()),
      events.map((event) => {
        const { customerId, total, lines } = event as OrderPlaced
        return JSON.stringify({ customerId, total, lines })
      }),
    ]
    await client.query({ ...insert, values })
  }
  const readPage = async (from: number, condition = ''): Promise<readonly string[][]> => {
    const text = `select ${READ} from ${schema}.events where position > $1 ${condition} order by position limit 500`
    const query = {
      name: `page_${schema}_${condition.length}`,
      text,
      values: [from],
      rowMode: 'array' as const,
    }
    return (await pool.query<string[]>({ ...query, types: { getTypeParser: () => (cell: string) => cell } }))
      .rows
  }
  return { schema, write, readPage }
}

export async function openPostgresBench(): Promise<StoreBench> {
  const given = process.env[addressVariables.postgres]
  const server =
    given === undefined
      ? await launchBroker('postgres', { config: ['fsync = on', 'shared_buffers = 512MB'] })
      : undefined
  const postgresUrl = given ?? server?.url ?? ''
  const pool = new Pool({ connectionString: postgresUrl, max: 20 })
  const opened: PostgresStores[] = []
  const freshSchema = () => `bench_${randomUUID().slice(0, 8)}`
  const open = async (options: PostgresStoresOptions = {}): Promise<PostgresStores> => {
    const events = [OrderPlaced, OrderShipped]
    const stores = new PostgresStores({
      postgresUrl,
      schema: freshSchema(),
      events,
      migrate: 'run',
      ...options,
    })
    opened.push(stores)
    await stores.ready()
    return stores
  }
  const bareOn = async () => {
    const schema = freshSchema()
    await pool.query(postgresMigrationSql({ schema }))
    return openBare(pool, schema)
  }

  const stores = await open()
  const silent = await open({ wakeUp: 'poll' })
  const bare = await bareOn()
  const [feed, bareFeed] = [await open(), await bareOn()]
  for (let start = 0; start < FEED; start += 1000) {
    const aggregateId = freshId()
    const events = [...placedTimes(999, aggregateId), new OrderShipped({ aggregateId, n: start })]
    await append(feed, events)
    await bareFeed.write(events)
  }

  const ours =
    (size: number, callers: number, count: number, on = stores) =>
    () =>
      rate(count * size, () => concurrently(count, callers, () => append(on, placedTimes(size))))
  /** Each caller has a connection of its own. */
  const raw = (size: number, callers: number, count: number) => async () => {
    const clients = await Promise.all(Array.from({ length: callers }, () => pool.connect()))
    const free = [...clients]
    const figure = await rate(count * size, () =>
      concurrently(count, callers, async () => {
        const client = free.pop()
        if (client === undefined) throw new Error('each caller has a client')
        await bare.write(placedTimes(size), client)
        free.push(client)
      }),
    )
    for (const client of clients) client.release()
    return figure
  }
  const row = (size: number, callers: number, count: number) =>
    compare({
      work: `append, ${callers} x ${size}`,
      unit: 'events/s',
      ours: ours(size, callers, count),
      raw: raw(size, callers, count),
    })
  const [{ server_version: version }] = (await pool.query('show server_version')).rows

  return {
    versions: { 'Node.js': process.versions.node, PostgreSQL: String(version) },
    steps: [
      row(1, 1, sized(2000)),
      row(10, 1, sized(1000)),
      row(100, 1, sized(200)),
      row(1000, 1, sized(30)),
      row(1, 8, sized(6000)),
      row(10, 8, sized(2000)),
      row(100, 8, sized(300)),
      compare({
        work: 'append, 64 callers, beside 8 connections',
        unit: 'events/s',
        ours: ours(1, 64, sized(15_000)),
        raw: raw(1, 8, sized(6000)),
      }),
      compare({
        work: 'append, 8 x 1, with wake-ups',
        peer: 'without',
        unit: 'events/s',
        ours: ours(1, 8, sized(6000)),
        raw: ours(1, 8, sized(6000), silent),
      }),
      compare({
        work: 'feed, decoded',
        peer: 'the bare rows as text',
        unit: 'events/s',
        ours: () => readAll((from) => pageOf(feed, from), FEED),
        raw: () => readAll((from) => barePage(bareFeed, from), FEED),
      }),
      compare({
        work: 'feed, 1 event in 1,000',
        unit: 'events/s',
        ours: () => readAll((from) => pageOf(feed, from, ['OrderShipped']), FEED / 1000),
        raw: () =>
          readAll((from) => barePage(bareFeed, from, "and event_type = 'OrderShipped'"), FEED / 1000),
      }),
      compare({
        work: 'page of 500 at nine tenths of the feed',
        peer: 'the first page',
        unit: 'ms',
        ours: () => timeOf(20, () => feed.events.readPage({ fromPosition: FEED * 0.9 })),
        raw: () => timeOf(20, () => feed.events.readPage({ fromPosition: 0 })),
      }),
      compare({
        work: 'load a stream of 100',
        unit: 'ms',
        ours: () => loadTime(stores),
        raw: () => bareLoadTime(pool, bare),
      }),
      compare({
        work: 'commit of another process until it is read',
        peer: 'the append alone',
        unit: 'ms',
        ours: () => latency(open, freshSchema()),
        raw: () => timeOf(sized(500), () => append(stores, [placed()])),
      }),
      compare({
        work: 'import',
        peer: 'inserts of 1,000',
        unit: 'events/s',
        ours: async () => {
          const target = await open()
          return rate(FEED, () => target.events.import(feed.events.export()))
        },
        raw: raw(1000, 1, FEED / 1000),
        rounds: 3,
      }),
    ],
    async close() {
      for (const one of opened) await one.close()
      await pool.end()
      await server?.dispose()
    },
  }
}

const append = (stores: PostgresStores, events: readonly DomainEvent[]) => {
  const aggregateId = events[0]?.aggregateId ?? ''
  return stores.events.appendEvents({
    aggregateId,
    aggregateType: 'Order',
    events,
    expectedVersion: 'noStream',
  })
}

type ReadPage = (from: number) => Promise<number | undefined>

const pageOf = async (stores: PostgresStores, fromPosition: number, eventTypes?: readonly string[]) =>
  (await stores.events.readPage({ fromPosition, eventTypes })).events.at(-1)?.position

async function barePage({ readPage }: ReturnType<typeof openBare>, from: number, condition?: string) {
  const last = (await readPage(from, condition)).at(-1)
  return last === undefined ? undefined : Number(last[0])
}

function readAll(readPage: ReadPage, count: number): Promise<number> {
  return rate(count, async () => {
    for (let from: number | undefined = 0; from !== undefined; ) from = await readPage(from)
  })
}

async function timeOf(rounds: number, call: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  for (let round = 0; round < rounds; round += 1) await call()
  return (performance.now() - start) / rounds
}

async function loadTime(stores: PostgresStores): Promise<number> {
  const aggregateId = freshId()
  await append(stores, placedTimes(100, aggregateId))
  return timeOf(100, () => stores.events.getEvents(aggregateId, { aggregateType: 'Order' }))
}

async function bareLoadTime(pool: Pool, { schema, write }: ReturnType<typeof openBare>): Promise<number> {
  const aggregateId = freshId()
  await write(placedTimes(100, aggregateId))
  const text =
    `select ${READ} from ${schema}.events where aggregate_id = $1 and aggregate_type = 'Order' ` +
    'order by aggregate_version'
  return timeOf(100, () => pool.query({ name: `load_${schema}`, text, values: [aggregateId] }))
}

/** From before the append through one object until another one has read the event, in the median. */
async function latency(
  open: (options: PostgresStoresOptions) => Promise<PostgresStores>,
  schema: string,
): Promise<number> {
  const [writer, reader] = [await open({ schema }), await open({ schema })]
  const times: number[] = []
  for (let round = 0; round < sized(300); round += 1) {
    const seen = Promise.withResolvers<void>()
    const end = reader.events.onAppend(async () => {
      if ((await reader.events.readPage({ fromPosition: round })).events.length > 0) seen.resolve()
    })
    const start = performance.now()
    await append(writer, [placed()])
    await seen.promise
    times.push(performance.now() - start)
    end()
  }
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0
}
