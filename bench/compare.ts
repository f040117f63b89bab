// npm run bench:compare -- <git-ref> memory|store|observability|redis|rabbitmq|kafka [--only text] [--runs 5]
// Benchmarks the build of another commit and this one by turns. Exits with 1 if a row lost more than its noise.
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { compareRows, mergeRuns, printComparison } from './comparison.ts'
import type { BenchRow } from './harness.ts'

const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  memory: ['memory.ts'],
  store: ['store.ts'],
  observability: ['observability.ts'],
  redis: ['broker.ts', 'redis'],
  rabbitmq: ['broker.ts', 'rabbitmq'],
  kafka: ['broker.ts', 'kafka'],
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { only: { type: 'string' }, quick: { type: 'boolean' }, runs: { type: 'string', default: '5' } },
})
const [ref, name = 'memory'] = positionals
const program = PROGRAMS[name]
const runs = Number(values.runs)
if (ref === undefined || program === undefined || !(Number.isSafeInteger(runs) && runs > 0)) {
  console.error(
    `Usage: npm run bench:compare -- <git-ref> [${Object.keys(PROGRAMS).join('|')}] [--only text] [--runs 5]`,
  )
  process.exit(2)
}

const root = join(import.meta.dirname, '..')
const folder = mkdtempSync(join(tmpdir(), 'eventspine-bench-'))
const other = join(folder, 'tree')
let lost = 0
try {
  run(root, 'git', 'worktree', 'add', '--quiet', '--detach', other, ref)
  symlinkSync(join(root, 'node_modules'), join(other, 'node_modules'))
  run(other, process.execPath, 'scripts/build.ts')
  // Both builds run the benchmarks of this commit.
  rmSync(join(other, 'bench'), { recursive: true })
  cpSync(join(root, 'bench'), join(other, 'bench'), { recursive: true })
  lost = printComparison(compareRows(...measured())).length
} finally {
  run(root, 'git', 'worktree', 'remove', '--force', other)
  rmSync(folder, { recursive: true, force: true })
}
process.exitCode = lost === 0 ? 0 : 1

/** The rows of the other commit, and of this one. The two take turns in going first. */
function measured(): [readonly BenchRow[], readonly BenchRow[]] {
  const before: (readonly BenchRow[])[] = []
  const after: (readonly BenchRow[])[] = []
  for (let round = 0; round < runs; round += 1) {
    process.stderr.write(`run ${round + 1} of ${runs}\n`)
    if (round % 2 === 0) before.push(benchmark(other))
    after.push(benchmark(root))
    if (round % 2 === 1) before.push(benchmark(other))
  }
  return [mergeRuns(before), mergeRuns(after)]
}

function benchmark(tree: string): readonly BenchRow[] {
  const [file = '', ...args] = program ?? []
  const only = values.only === undefined ? [] : ['--only', values.only]
  const quick = values.quick === true ? ['--quick'] : []
  const output = run(
    tree,
    process.execPath,
    join('bench', file),
    ...args,
    ...only,
    ...quick,
    '--unsaved',
    '--json',
  )
  // The benchmark's own output format.
  return JSON.parse(output) as readonly BenchRow[]
}

/** @throws Error if the command fails. */
function run(cwd: string, command: string, ...args: readonly string[]): string {
  const { status, stdout, error } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (error !== undefined) throw error
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with code ${status}`)
  return stdout
}
