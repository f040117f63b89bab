// npm run bench:stores [-- sqlite|postgres] [-- --json]: durable stores, beside the bare driver that does the same durable work.
import { subject } from './arguments.ts'
import { runSteps } from './harness.ts'
import { report } from './results.ts'
import { openPostgresBench } from './stores/postgres.ts'
import { openSqliteBench } from './stores/sqlite.ts'

/** The stores that are measured, each by its own file. */
const STORES = { sqlite: openSqliteBench, postgres: openPostgresBench }

for (const [name, open] of Object.entries(STORES)) {
  if (subject !== undefined && subject !== name) continue
  const { steps, versions, close } = await open()
  report(name, await runSteps(name, steps), versions)
  await close()
}
