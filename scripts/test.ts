// Runs all checks of the project. Every step runs, even after a failure, and the last line has the totals.
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requirePrograms } from '../test/brokers/programs.ts'
import { readVitestReport, type VitestReport } from './vitest-report.ts'

const steps = [
  ['build', 'npm', 'run', '--silent', 'build'],
  ['lint', 'npm', 'run', '--silent', 'lint'],
  ['typecheck', 'npm', 'run', '--silent', 'typecheck'],
  ['unused code', 'knip', '--no-config-hints'],
  ['import rules', 'node', 'scripts/check-imports.ts'],
  ['package', 'node', 'scripts/check-package.ts'],
] as const

let passed = 0
let failed = 0
let finished = false
process.on('exit', (code) => {
  if (!finished) failed += 1 // this script itself was interrupted
  console.log(`${passed} passed, ${failed} failed`)
  process.exitCode = failed > 0 ? 1 : code
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1))

for (const [name, command, ...args] of steps) {
  if (run(name, command, args)) passed += 1
  else failed += 1
}
// Two installations at the same time would conflict: those of the brokers follow.
await requirePrograms('chromium')
await runTests()
finished = true

async function runTests(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'eventspine-report-'))
  const report = join(folder, 'vitest.json')
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  const succeeded = run('tests', 'vitest', ['run', ...reporters])
  const counts = await readReport(report)
  await rm(folder, { recursive: true })
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

function run(name: string, command: string, args: readonly string[]): boolean {
  console.log(`\n== ${name}`)
  const start = performance.now()
  const { status, error } = spawnSync(command, args, { stdio: 'inherit' })
  if (error) console.error(error.message)
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  console.log(`== ${name}: ${status === 0 ? 'passed' : 'FAILED'} in ${seconds} s`)
  return status === 0
}
