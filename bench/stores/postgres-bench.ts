import { versionOf } from '../machine.ts'
import { openPostgres } from './postgres.ts'
import { appendSteps } from './postgres-appends.ts'
import { latencySteps } from './postgres-latency.ts'
import { readSteps } from './postgres-reads.ts'
import type { StoreBench } from './store-bench.ts'

export async function openPostgresBench(): Promise<StoreBench> {
  const scene = await openPostgres()
  return {
    versions: {
      PostgreSQL: scene.version,
      pg: versionOf('pg'),
      Emmett: versionOf('@event-driven-io/emmett-postgresql'),
    },
    steps: [...appendSteps(scene), ...readSteps(scene), ...latencySteps(scene)],
    close: () => scene.close(),
  }
}
