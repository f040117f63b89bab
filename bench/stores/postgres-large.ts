// Rows about 10,000,000 events in PostgreSQL.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { sized } from '../arguments.ts'
import { type Comparison, compare, rowOf, type Step } from '../harness.ts'
import type { Memory } from '../works/memory-samples.ts'
import { freshSchema, openPostgres, type PostgresScene } from './postgres.ts'
import { pageTime } from './postgres-reads.ts'
import { once, type StoreBench } from './store-bench.ts'

const EVENTS = sized(10_000_000)
const FAR = EVENTS * 0.9

/** The request to the other process. */
export interface FollowQuestion {
  readonly postgresUrl: string
  readonly schema: string
  readonly count: number
}

export async function openLargeBench(): Promise<StoreBench> {
  const scene = await openPostgres()
  const large = once(() => filled(scene, EVENTS))
  const small = once(() => filled(scene, sized(10_000)))
  return {
    versions: { PostgreSQL: scene.version },
    steps: [
      afterFilling(large, {
        work: 'page of 500 at position 9,000,000, never analyzed',
        peer: 'the first page',
        unit: 'ms',
        ours: async () => pageTime((await large()).stores, FAR),
        raw: async () => pageTime((await large()).stores, 0),
      }),
      afterFilling(large, {
        work: 'page of 500 at position 9,000,000, never analyzed',
        peer: 'a store of 10,000',
        unit: 'ms',
        ours: async () => pageTime((await large()).stores, FAR),
        raw: async () => pageTime((await small()).stores, 0),
      }),
      followStep(scene, large),
    ],
    close: () => scene.close(),
  }
}

/** Filling the tables may take longer than a round. */
function afterFilling(fill: () => Promise<unknown>, comparison: Comparison): Step {
  const step = compare(comparison)
  return {
    work: step.work,
    async run(bus) {
      await fill()
      return step.run(bus)
    },
  }
}

/** A store with many events, of which the planner has no statistics. */
async function filled(scene: PostgresScene, count: number) {
  const schema = freshSchema()
  const stores = await scene.open({ schema })
  const table = `"${schema}".events`
  const { rows } = await scene.pool.query<{ name: string; definition: string }>(
    'select i.relname as name, pg_get_indexdef(x.indexrelid) as definition from pg_index x ' +
      'join pg_class i on i.oid = x.indexrelid where x.indrelid = $1::regclass and not x.indisunique',
    [table],
  )
  await scene.pool.query(`alter table ${table} set (autovacuum_enabled = false)`)
  for (const { name } of rows) await scene.pool.query(`drop index "${schema}"."${name}"`)
  for (let start = 0; start < count; start += 500_000) {
    await scene.pool.query(
      `insert into ${table} (event_id, aggregate_type, aggregate_id, aggregate_version, event_type, event_version,
         bytes, correlation_id, occurred_at, payload)
       select 'e-' || lpad(n::text, 12, '0'), 'Order', 'order-' || lpad((n / 100)::text, 12, '0'), n % 100 + 1,
         'OrderPlaced', 1, 101, 'c-' || lpad(n::text, 12, '0'), now(),
         '{"customerId":"c-0001","total":1234.5,"lines":[{"sku":"A-1000","count":1},{"sku":"B-2000","count":2}]}'
       from generate_series(${start}::bigint, ${Math.min(count, start + 500_000) - 1}) n`,
    )
  }
  for (const { definition } of rows) await scene.pool.query(definition)
  return { schema, stores }
}

/** The memory of a subscription that follows all events in a separate process. */
function followStep(scene: PostgresScene, large: () => Promise<{ readonly schema: string }>): Step {
  const work = 'memory over 10,000,000 followed events'
  return {
    work,
    async run(bus) {
      const program = fileURLToPath(new URL('follow-all.ts', import.meta.url))
      const { schema } = await large()
      const question: FollowQuestion = { postgresUrl: scene.postgresUrl, schema, count: EVENTS }
      const args = ['--expose-gc', program, JSON.stringify(question)]
      const { stdout } = await promisify(execFile)(process.execPath, args)
      // Printed by the program.
      const { heap, rss } = JSON.parse(stdout) as Memory
      const row = (what: string, peer: string, { early, all }: Memory['heap']) =>
        rowOf({ bus, work: `${what} over 10,000,000 followed events`, peer, unit: 'MiB' }, [[all, early]])
      return [
        row('live heap', 'the first 1,000,000', heap),
        row('resident memory', 'the first 5,000,000', rss),
      ]
    },
  }
}
