// From before an append until a handler in another process has the event.
import { fork } from 'node:child_process'
import { once as emitted } from 'node:events'
import { fileURLToPath } from 'node:url'
import { sized } from '../arguments.ts'
import { compare, type Step } from '../harness.ts'
import { append, freshSchema, type PostgresScene } from './postgres.ts'
import { concurrently, freshId, OrderShipped } from './store-bench.ts'

/** The request to the other process, and its report. */
export interface LatencyQuestion {
  readonly side: 'ours' | 'raw'
  readonly postgresUrl: string
  readonly schema: string
  readonly count: number
}

export interface LatencyReport {
  readonly p50: number
}

/** The same clock in every process of the machine, in nanoseconds. */
export const now = (): number => Number(process.hrtime.bigint())

const IDLE = sized(200)
const BUSY = sized(4000)

export function latencySteps(scene: PostgresScene): readonly Step[] {
  return [
    step('append to handler in another process, p50', scene, IDLE, async (write) => {
      for (let sent = 0; sent < IDLE; sent += 1) {
        await write()
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    }),
    step('append to handler in another process, 8 writers, p50', scene, BUSY, (write) =>
      concurrently(BUSY, 8, write),
    ),
  ]
}

type Work = (write: () => Promise<unknown>) => Promise<unknown>

function step(work: string, scene: PostgresScene, count: number, writing: Work): Step {
  return compare({
    work,
    peer: 'LISTEN and the next rows',
    unit: 'ms',
    ours: async () => {
      const schema = freshSchema()
      const stores = await scene.open({ schema })
      return p50(scene, { side: 'ours', schema, count }, () =>
        writing(() => append(stores, [new OrderShipped({ aggregateId: freshId(), n: now() })])),
      )
    },
    raw: async () => {
      const { schema } = await scene.bare()
      const text =
        `with written as (insert into ${schema}.events (event_id, aggregate_type, aggregate_id, aggregate_version, ` +
        'event_type, event_version, correlation_id, occurred_at, payload) select gen_random_uuid()::text, ' +
        "'Order', $1, 1, 'OrderShipped', 1, gen_random_uuid()::text, now(), $2::json returning 1) " +
        `select pg_notify('${schema}', '') from written`
      const write = () =>
        scene.pool.query({ name: `w_${schema}`, text, values: [freshId(), JSON.stringify({ n: now() })] })
      return p50(scene, { side: 'raw', schema, count }, () => writing(write))
    },
    rounds: 3,
  })
}

async function p50(
  { postgresUrl }: PostgresScene,
  question: Omit<LatencyQuestion, 'postgresUrl'>,
  write: () => Promise<unknown>,
): Promise<number> {
  const program = fileURLToPath(new URL('latency-reader.ts', import.meta.url))
  const reader = fork(program, [JSON.stringify({ ...question, postgresUrl })])
  const ended = emitted(reader, 'exit')
  await emitted(reader, 'message') // it listens
  const [[report]] = await Promise.all([emitted(reader, 'message'), write()])
  await ended
  return (report as LatencyReport).p50 // sent by the program
}
