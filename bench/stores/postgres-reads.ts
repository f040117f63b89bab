// Rows about reading from PostgreSQL, and about imports.
import type { StoredEvent } from 'eventspine'
import type { PostgresStores } from 'eventspine/postgres'
import type { Pool } from 'pg'
import { EventRegistry } from '../../src/events/event-registry.ts'
import { PostgresConnections } from '../../src/postgres/connections.ts'
import { appendText, copyInto } from '../../src/postgres/copy.ts'
import { PostgresFeed } from '../../src/postgres/feed.ts'
import { resolvePostgresOptions } from '../../src/postgres/options.ts'
import { RowDecoder, type StoredRow } from '../../src/store/event-row.ts'
import { sized } from '../arguments.ts'
import { compare, rate, type Step } from '../harness.ts'
import { openEmmett } from './emmett.ts'
import { append, freshSchema, type PostgresScene } from './postgres.ts'
import { type BarePostgres, READ } from './postgres-bare.ts'
import { freshId, OrderShipped, once, placedTimes, timeOf } from './store-bench.ts'

const FEED = sized(200_000)
const SHIPPED = "and event_type = 'OrderShipped'"

interface Feed {
  readonly schema: string
  readonly stores: PostgresStores
  readonly bare: BarePostgres
}

/** The same events in a store and in the bare tables: one of 1,000 is an `OrderShipped`. */
async function openFeed(scene: PostgresScene): Promise<Feed> {
  const schema = freshSchema()
  const [stores, bare] = [await scene.open({ schema }), await scene.bare()]
  for (let start = 0; start < FEED; start += 1000) {
    const aggregateId = freshId()
    const events = [...placedTimes(999, aggregateId), new OrderShipped({ aggregateId, n: start })]
    await append(stores, events)
    await bare.write(events)
  }
  return { schema, stores, bare }
}

export function readSteps(scene: PostgresScene): readonly Step[] {
  const feed = once(() => openFeed(scene))
  const textFeed = once(async () => openTextFeed(scene, (await feed()).schema))
  return [
    compare({
      work: 'feed, as stored text',
      unit: 'events/s',
      ours: async () => followed(FEED, pagesOf(await textFeed())),
      raw: async () => followed(FEED, barePagesOf((await feed()).bare)),
    }),
    compare({
      work: 'feed, decoded',
      peer: 'the bare rows as text',
      unit: 'events/s',
      ours: async () => followed(FEED, pagesOf((await feed()).stores.events)),
      raw: async () => followed(FEED, barePagesOf((await feed()).bare)),
    }),
    compare({
      work: 'feed, 1 event in 1,000, a page of 100',
      unit: 'ms',
      ours: async () => {
        const { events } = (await feed()).stores
        return timeOf(20, () => events.readPage({ eventTypes: ['OrderShipped'], limit: 100 }))
      },
      raw: async () => {
        const { bare } = await feed()
        return timeOf(20, () => bare.readPage(0, SHIPPED, 100))
      },
    }),
    compare({
      work: 'page of 500 at nine tenths of the feed',
      peer: 'the first page',
      unit: 'ms',
      ours: async () => pageTime((await feed()).stores, FEED * 0.9),
      raw: async () => pageTime((await feed()).stores, 0),
    }),
    loadStep(scene),
    emmettLoadStep(scene),
    importStep(scene, feed),
  ]
}

export const pageTime = ({ events }: PostgresStores, fromPosition: number): Promise<number> =>
  timeOf(20, () => events.readPage({ fromPosition }))

type NextPage = (from: number) => Promise<number | undefined>

interface Pages {
  readPage(range: {
    readonly fromPosition: number
  }): Promise<{ readonly events: readonly { readonly position: number }[] }>
}

const pagesOf =
  (feed: Pages): NextPage =>
  async (fromPosition) =>
    (await feed.readPage({ fromPosition })).events.at(-1)?.position

const barePagesOf =
  ({ readPage }: BarePostgres): NextPage =>
  async (from) => {
    const last = (await readPage(from)).at(-1)
    return last === undefined ? undefined : Number(last[0])
  }

function followed(count: number, nextPage: NextPage): Promise<number> {
  return rate(count, async () => {
    for (let from: number | undefined = 0; from !== undefined; ) from = await nextPage(from)
  })
}

/**
 * Passes rows on as they are: with each column as a text of its own, as the bare client returns them. Only their positions
 * are read here.
 */
class Undecoded extends RowDecoder {
  override async decodeAll(rows: readonly StoredRow[]): ReturnType<RowDecoder['decodeAll']> {
    return rows as unknown as Awaited<ReturnType<RowDecoder['decodeAll']>>
  }
}

/** The feed without the decoding of its rows, as a relay reads it. */
function openTextFeed({ postgresUrl }: PostgresScene, schema: string) {
  const connections = new PostgresConnections(resolvePostgresOptions({ postgresUrl, schema, poolSize: 2 }))
  const feed = new PostgresFeed(
    connections,
    `"${schema}"`,
    new Undecoded(new EventRegistry()),
    false,
    () => undefined,
  )
  return { readPage: (range: { fromPosition: number }) => feed.page({ ...range, undecoded: true }) }
}

function loadStep(scene: PostgresScene): Step {
  const [stores, bare] = [once(() => scene.open()), once(() => scene.bare())]
  return compare({
    work: 'load a stream of 100',
    unit: 'ms',
    ours: async () => loadTime(await stores()),
    raw: async () => bareLoadTime(scene.pool, await bare()),
  })
}

async function loadTime(stores: PostgresStores): Promise<number> {
  const aggregateId = freshId()
  await append(stores, placedTimes(100, aggregateId))
  return timeOf(100, () => stores.events.getEvents(aggregateId, { aggregateType: 'Order' }))
}

async function bareLoadTime(pool: Pool, { schema, write }: BarePostgres): Promise<number> {
  const aggregateId = freshId()
  await write(placedTimes(100, aggregateId))
  const text =
    `select ${READ} from ${schema}.events where aggregate_id = $1 and aggregate_type = 'Order' ` +
    'order by aggregate_version'
  return timeOf(100, () => pool.query({ name: `load_${schema}`, text, values: [aggregateId] }))
}

function emmettLoadStep(scene: PostgresScene): Step {
  const [stores, emmett] = [once(() => scene.open()), once(() => openEmmett(scene))]
  return compare({
    work: 'load a stream of 100',
    peer: 'Emmett',
    unit: 'ms',
    ours: async () => loadTime(await stores()),
    raw: async () => {
      const { write, load } = await emmett()
      const aggregateId = freshId()
      await write(placedTimes(100, aggregateId))
      return timeOf(100, () => load(aggregateId))
    },
  })
}

/** Both sides get events that are decoded already, and write them as text. */
function importStep(scene: PostgresScene, feed: () => Promise<Feed>): Step {
  const count = Math.min(FEED, 50_000)
  const loaded = once(async () => {
    const events: StoredEvent[] = []
    for await (const stored of (await feed()).stores.events.readAll({ limit: count })) events.push(stored)
    return events
  })
  return compare({
    work: 'import',
    peer: 'one COPY',
    unit: 'events/s',
    ours: async () => {
      const stored = await loaded()
      const target = await scene.open()
      return rate(count, () => target.events.import(stored))
    },
    raw: async () => {
      const stored = await loaded()
      const { schema } = await scene.bare()
      return rate(count, () => copied(scene.pool, schema, stored))
    },
    rounds: 3,
  })
}

async function copied(pool: Pool, schema: string, stored: readonly StoredEvent[]): Promise<void> {
  const columns =
    'event_id, aggregate_type, aggregate_id, aggregate_version, event_type, event_version, correlation_id, occurred_at, payload'
  const client = await pool.connect()
  const lines = stored.map(({ event }) =>
    appendText([
      event.eventId,
      event.aggregateType,
      event.aggregateId,
      String(event.aggregateVersion),
      event.eventType,
      String(event.eventVersion),
      event.correlationId,
      event.occurredAt.toISOString(),
      JSON.stringify(event),
    ]),
  )
  await copyInto(client, `copy ${schema}.events (${columns}) from stdin`, lines, Number.POSITIVE_INFINITY)
  client.release()
}
