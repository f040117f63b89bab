// npm run bench:compare -- <git-ref> memory|store|observability|redis|rabbitmq|kafka [--only text] [--runs 5] [--confirm 2]
// Benchmarks the build of another commit and this one by turns. Exits with 1 if a row lost more than its noise, and with 3
// if the other commit cannot run the benchmark.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, globSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type ComparedRow, compareRows, isSameRow, mergeRuns, printComparison } from './comparison.ts'
import type { BenchRow } from './harness.ts'

const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  memory: ['memory.ts'],
  store: ['store.ts'],
  observability: ['observability.ts'],
  redis: ['broker.ts', 'redis'],
  rabbitmq: ['broker.ts', 'rabbitmq'],
  kafka: ['broker.ts', 'kafka'],
}

/** Exit code if the other commit cannot be built, or cannot run the benchmark. */
const NOT_COMPARABLE = 3

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string', multiple: true, default: [] },
    quick: { type: 'boolean', default: false },
    runs: { type: 'string', default: '5' },
    confirm: { type: 'string', default: '0' },
  },
})
const [ref, name = 'memory'] = positionals
const program = PROGRAMS[name]
const [runs, confirmations] = [Number(values.runs), Number(values.confirm)]
const areCounts = Number.isSafeInteger(runs) && runs > 0 && Number.isSafeInteger(confirmations)
if (ref === undefined || program === undefined || !areCounts) {
  console.error(
    `Usage: npm run bench:compare -- <git-ref> [${Object.keys(PROGRAMS).join('|')}] [--only text] [--runs 5] [--confirm 2]`,
  )
  process.exit(2)
}

const root = join(import.meta.dirname, '..')
const folder = mkdtempSync(join(tmpdir(), 'eventspine-bench-'))
const other = join(folder, 'tree')
try {
  run(root, 'git', 'worktree', 'add', '--quiet', '--detach', other, ref)
  process.exitCode = compareBuilds()
} finally {
  run(root, 'git', 'worktree', 'remove', '--force', other)
  rmSync(folder, { recursive: true, force: true })
}

/** @returns the exit code. */
function compareBuilds(): number {
  try {
    symlinkSync(join(root, 'node_modules'), join(other, 'node_modules'))
    run(other, process.execPath, 'scripts/build.ts')
    // Both builds run the benchmarks of this commit.
    rmSync(join(other, 'bench'), { recursive: true })
    cpSync(join(root, 'bench'), join(other, 'bench'), { recursive: true })
    if (digestOf(other) === digestOf(root)) {
      console.log(`${ref} has the same build: there is nothing to measure.`)
      return 0
    }
    benchmark(other, { only: values.only, isQuick: true })
  } catch (error) {
    console.error(`${ref} cannot be compared: ${error instanceof Error ? error.message : error}`)
    return NOT_COMPARABLE
  }
  const { only, quick: isQuick } = values
  let lost = printComparison(compareRows(...measured({ only, isQuick }, runs)))
  for (let count = 0; count < confirmations && lost.length > 0; count += 1) lost = confirmed(lost, isQuick)
  return lost.length === 0 ? 0 : 1
}

/** Measures rows that lost once more, with twice the runs. @returns those that lost again. */
function confirmed(lost: readonly ComparedRow[], isQuick: boolean): readonly ComparedRow[] {
  process.stderr.write('measured once more:\n')
  const only = lost.map(({ work }) => work)
  const rows = compareRows(...measured({ only, isQuick }, 2 * runs))
  return printComparison(rows.filter((row) => lost.some((one) => isSameRow(one, row))))
}

/** Identifies the code of a build. */
function digestOf(tree: string): string {
  const hash = createHash('sha256')
  for (const file of globSync('dist/**/*.js', { cwd: tree }).sort())
    hash.update(`${file}\n`).update(readFileSync(join(tree, file)))
  return hash.digest('hex')
}

interface Selection {
  readonly only: readonly string[]
  readonly isQuick: boolean
}

/** The rows of the other commit, and of this one. The two take turns in going first. */
function measured(
  selection: Selection,
  count: number,
): [before: readonly BenchRow[], after: readonly BenchRow[]] {
  const before: (readonly BenchRow[])[] = []
  const after: (readonly BenchRow[])[] = []
  for (let round = 0; round < count; round += 1) {
    process.stderr.write(`run ${round + 1} of ${count}\n`)
    if (round % 2 === 0) before.push(benchmark(other, selection))
    after.push(benchmark(root, selection))
    if (round % 2 === 1) before.push(benchmark(other, selection))
  }
  return [mergeRuns(before), mergeRuns(after)]
}

function benchmark(tree: string, { only, isQuick }: Selection): readonly BenchRow[] {
  const [file = '', ...args] = program ?? []
  const options = [...only.flatMap((text) => ['--only', text]), ...(isQuick ? ['--quick'] : [])]
  const output = run(tree, process.execPath, join('bench', file), ...args, ...options, '--unsaved', '--json')
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
