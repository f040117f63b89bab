// npm run bench:stores [-- sqlite|postgres] [-- --large] [-- --json]: durable stores, beside the bare driver that does the
// same durable work. `--large` runs the rows about 10,000,000 events, which take several minutes.
import { isLarge, subject } from './arguments.ts'
import { type BenchRow, runSteps } from './harness.ts'
import { print, report } from './results.ts'
import { openPostgresBench } from './stores/postgres-bench.ts'
import { openLargeBench } from './stores/postgres-large.ts'
import { openSqliteBench } from './stores/sqlite.ts'

/** The stores that are measured, each by its own file. */
const STORES = { sqlite: openSqliteBench, postgres: openPostgresBench }
const LARGE = { postgres: openLargeBench }

const rows: BenchRow[] = []
const versions: Record<string, string> = {}
for (const [name, open] of Object.entries(isLarge ? LARGE : STORES)) {
  if (subject !== undefined && subject !== name) continue
  const bench = await open()
  Object.assign(versions, bench.versions)
  rows.push(...(await runSteps(name, bench.steps)))
  await bench.close()
}
if (subject === undefined || isLarge) report(isLarge ? 'stores-large' : 'stores', rows, versions)
else print(rows)
