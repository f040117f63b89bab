// npm run bench [-- --json]: runs every benchmark in sequence and generates the documentation from the results.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { isQuick, isUnsaved, only } from './arguments.ts'
import type { BenchRow } from './harness.ts'
import { writeDocs } from './report/write-docs.ts'
import { print } from './results.ts'

const benches = [
  ['memory.ts'],
  ['store.ts'],
  ['stores.ts'],
  ['observability.ts'],
  ['broker.ts', 'redis'],
  ['broker.ts', 'rabbitmq'],
  ['broker.ts', 'kafka'],
  ['peers.ts'],
] as const

const start = performance.now()
const rows: BenchRow[] = []
for (const [program, ...args] of benches) rows.push(...(await run(program, args)))
if (!isQuick && !isUnsaved && only === undefined) writeDocs()
print(rows)
process.stderr.write(`All benchmarks took ${Math.round((performance.now() - start) / 1000)} s\n`)

/** @returns the rows of one benchmark. If it fails, there are none, and the exit code of the whole run is set. */
async function run(program: string, args: readonly string[]): Promise<readonly BenchRow[]> {
  const path = fileURLToPath(new URL(program, import.meta.url))
  const flags = process.argv.slice(2).filter((flag) => flag !== '--json')
  const child = spawn(process.execPath, [path, ...args, ...flags, '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [output] = await Promise.all([text(child.stdout), once(child, 'close')])
  // The benchmark's own output format.
  if (child.exitCode === 0) return JSON.parse(output) as readonly BenchRow[]
  process.stderr.write(`${[program, ...args].join(' ')} failed with code ${child.exitCode}\n`)
  process.exitCode = 1
  return []
}
