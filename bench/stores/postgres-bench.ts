import type { PostgresClient } from 'eventspine/postgres'
import { versionOf } from '../machine.ts'
import { effectSteps } from './effects.ts'
import { openPostgres } from './postgres.ts'
import { appendSteps } from './postgres-appends.ts'
import { latencySteps } from './postgres-latency.ts'
import { readSteps } from './postgres-reads.ts'
import type { StoreBench } from './store-bench.ts'

export async function openPostgresBench(): Promise<StoreBench> {
  const scene = await openPostgres()
  await scene.pool.query('create table if not exists bench_effects (id bigserial primary key, n int)')
  const effects = {
    open: () => scene.open(),
    write: (client: PostgresClient) => client.query({ text: 'insert into bench_effects (n) values (1)' }),
    roundTrip: (client: PostgresClient) => client.query({ text: 'select 1' }),
  }
  return {
    versions: {
      PostgreSQL: scene.version,
      pg: versionOf('pg'),
      Emmett: versionOf('@event-driven-io/emmett-postgresql'),
    },
    steps: [...appendSteps(scene), ...readSteps(scene), ...latencySteps(scene), ...effectSteps(effects)],
    close: () => scene.close(),
  }
}
