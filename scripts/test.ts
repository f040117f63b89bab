// Runs all checks of the project. Every step runs, even after a failure, and the last line has the totals.
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { constants, getPriority, setPriority, tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { prepareServers } from '../test/brokers/prepare-servers.ts'
import { readVitestReport, type VitestReport } from './vitest-report.ts'

type Step = readonly [name: string, command: string, ...args: string[]]

const folder = await mkdtemp(join(tmpdir(), 'eventspine-test-'))
const build: Step = ['build', 'node', 'scripts/check-package.ts', '--pack', folder]
const checks: readonly Step[] = [
  ['lint', 'npm', 'run', '--silent', 'lint'],
  ['typecheck', 'npm', 'run', '--silent', 'typecheck'],
  ['unused code', 'knip', '--no-config-hints'],
  ['import rules', 'node', 'scripts/check-imports.ts'],
  ['package', 'node', 'scripts/check-package.ts', '--packed', folder],
]

/** Of the checks that run beside the tests. */
const PRIORITY = Math.max(getPriority(), constants.priority.PRIORITY_BELOW_NORMAL)

let passed = 0
let failed = 0
let finished = false
const running = new Set<ChildProcess>()
process.on('exit', (code) => {
  rmSync(folder, { recursive: true, force: true })
  if (!finished) failed += 1 // this script itself was interrupted
  console.log(`${passed} passed, ${failed} failed`)
  process.exitCode = failed > 0 ? 1 : code
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    for (const child of running) child.kill(signal)
    process.exit(1)
  })
}

const servers = prepareServers()
servers.catch(() => undefined) // reported below, after the build
count(await inForeground(build))
await servers
// The tests often wait, and leave time for the checks.
const checking = inBackground(checks)
await runTests()
await checking
finished = true

async function runTests(): Promise<void> {
  const report = join(folder, 'vitest.json')
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  const succeeded = await inForeground(['tests', 'vitest', 'run', ...reporters])
  const counts = await readReport(report)
  passed += counts.numPassedTests
  failed += counts.numFailedTests
  if (counts.numPendingTests > 0) console.log(`${counts.numPendingTests} skipped`)
  if (!succeeded && counts.numFailedTests === 0) failed += 1 // a file did not load, or a broker did not start
}

async function readReport(path: string): Promise<Omit<VitestReport, 'testResults'>> {
  try {
    return await readVitestReport(path)
  } catch (error) {
    console.error('Vitest wrote no report:', error)
    return { numPassedTests: 0, numFailedTests: 0, numPendingTests: 0 }
  }
}

function count(hasPassed: boolean): void {
  if (hasPassed) passed += 1
  else failed += 1
}

/** Runs a step whose output appears as it is written. @returns true if it passed. */
async function inForeground([name, command, ...args]: Step): Promise<boolean> {
  console.log(`\n== ${name}`)
  const start = performance.now()
  const hasPassed = await ended(launch(command, args, 'inherit'))
  console.log(verdict(name, hasPassed, start))
  return hasPassed
}

/** Runs steps one after the other, with low priority, and prints the output of each when it has ended. */
async function inBackground(steps: readonly Step[]): Promise<void> {
  for (const [name, command, ...args] of steps) {
    const start = performance.now()
    const child = launch(
      'sh',
      ['-c', 'exec "$@" 2>&1', 'sh', command, ...args],
      ['ignore', 'pipe', 'inherit'],
    )
    if (child.pid !== undefined) setPriority(child.pid, PRIORITY)
    const output = child.stdout === null ? '' : text(child.stdout)
    const hasPassed = await ended(child)
    count(hasPassed)
    console.log(`\n== ${name}\n${await output}${verdict(name, hasPassed, start)}`)
  }
}

function launch(command: string, args: readonly string[], stdio: StdioOptions): ChildProcess {
  const child = spawn(command, args, { stdio })
  running.add(child)
  return child
}

async function ended(child: ChildProcess): Promise<boolean> {
  try {
    await once(child, 'exit')
  } catch (error) {
    console.error(error) // the command was not found
  }
  running.delete(child)
  return child.exitCode === 0
}

function verdict(name: string, hasPassed: boolean, start: number): string {
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  return `== ${name}: ${hasPassed ? 'passed' : 'FAILED'} in ${seconds} s`
}
