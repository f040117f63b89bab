// npm run bench [-- --json]: every bench, one after the other, and the documentation that their results make.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { isQuick, only } from './arguments.ts'
import type { BenchRow } from './harness.ts'
import { writeDocs } from './report/write-docs.ts'
import { print } from './results.ts'

const benches = [
  ['memory.ts'],
  ['store.ts'],
  ['observability.ts'],
  ['broker.ts', 'redis'],
  ['broker.ts', 'rabbitmq'],
  ['broker.ts', 'kafka'],
  ['peers.ts'],
] as const

const start = performance.now()
const rows: BenchRow[] = []
for (const [program, ...args] of benches) rows.push(...(await run(program, args)))
if (!isQuick && only === undefined) writeDocs()
print(rows)
process.stderr.write(`All benches took ${Math.round((performance.now() - start) / 1000)} s\n`)

/** Its rows; none, and an exit code for all, where it failed. */
async function run(program: string, args: readonly string[]): Promise<readonly BenchRow[]> {
  const path = fileURLToPath(new URL(program, import.meta.url))
  const flags = process.argv.slice(2).filter((flag) => flag !== '--json')
  const child = spawn(process.execPath, [path, ...args, ...flags, '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [output] = await Promise.all([text(child.stdout), once(child, 'close')])
  // The bench's own output.
  if (child.exitCode === 0) return JSON.parse(output) as readonly BenchRow[]
  process.stderr.write(`${[program, ...args].join(' ')} failed with code ${child.exitCode}\n`)
  process.exitCode = 1
  return []
}
