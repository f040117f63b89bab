import { Pool } from 'pg'
import { expect, inject, it } from 'vitest'
import type { FeedPage } from '../../src/index.ts'
import { PostgresStores } from '../../src/postgres/index.ts'
import { noted } from '../../src/testing/conformance/events.ts'
import { freshSchema } from './postgres-scene.ts'

interface Plans {
  readonly name: string
  readonly custom: number
  readonly generic: number
}

/** Number of executions of a statement before the server considers a plan for any values. */
const TRIED = 5

/** Adds so many events that a tenth of them is more than a page. */
async function fill(pool: Pool, schema: string): Promise<void> {
  const columns =
    'event_id, aggregate_type, aggregate_id, aggregate_version, event_type, event_version, correlation_id, occurred_at, payload'
  const values = "n, 'Note', 'many', n, 'Noted', 1, 'c', now(), json_build_object('n', n)"
  const rows = 'from generate_series(1, 40000) n'
  await pool.query(`insert into "${schema}".events (${columns}) select ${values} ${rows}`)
  await pool.query(`insert into "${schema}".outbox (${columns}, position) select ${values}, n ${rows}`)
  await pool.query(`select setval('"${schema}".outbox_position_seq', 40000)`)
  await pool.query(`analyze "${schema}".events, "${schema}".outbox`)
}

it.each([
  ['feed, decoded', 'page_', false, (stores: PostgresStores) => stores.events],
  ['feed, undecoded', 'page__joined', true, (stores: PostgresStores) => stores.events],
  ['outbox, undecoded', 'outbox__joined', true, (stores: PostgresStores) => stores.outbox],
])('the server plans the pages of the %s once', async (_what, key, undecoded, feedOf) => {
  await using pool = Object.assign(new Pool({ connectionString: inject('postgresUrl'), max: 1 }), {
    [Symbol.asyncDispose]: () => pool.end(),
  })
  const schema = freshSchema()
  await using stores = new PostgresStores({ pool, schema, migrate: 'run', wakeUp: 'poll' })
  await stores.ready()
  await fill(pool, schema)
  const feed = feedOf(stores)

  const pages: FeedPage[] = []
  for (let n = 0; n < TRIED + 3; n += 1)
    pages.push(await feed.readPage({ fromPosition: n * 200, limit: 500, undecoded }))

  expect(pages.map((page) => page.events.length)).toEqual(pages.map(() => 500))
  const { rows } = await pool.query<Plans>(
    'select name, custom_plans::int as custom, generic_plans::int as generic from pg_prepared_statements',
  )
  expect(rows.filter(({ name }) => name.endsWith(`_${key}`))).toMatchObject([{ custom: TRIED, generic: 3 }])
})

it('reads pages of more than the usual size', async () => {
  await using stores = new PostgresStores({
    postgresUrl: inject('postgresUrl'),
    schema: freshSchema(),
    migrate: 'run',
  })
  const events = Array.from({ length: 2500 }, (_, n) => noted('many', n))
  const stream = { aggregateId: 'many', aggregateType: 'Note', expectedVersion: 'any' as const }
  await stores.events.appendEvents({ ...stream, events })
  await stores.transaction((tx) => tx.outbox.add(events))

  for (const feed of [stores.events, stores.outbox]) {
    for (const undecoded of [false, true]) {
      const page = await feed.readPage({ fromPosition: 100, toPosition: 2300, limit: 2000, undecoded })
      expect(page.events.map(({ position }) => position)).toEqual(
        Array.from({ length: 2000 }, (_, index) => 101 + index),
      )
    }
  }
})
