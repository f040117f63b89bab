// npm run test:versions -- redis=8.0 node: runs the tests on other versions of the servers and of Node.js.
// Arguments such as test/redis/consuming limit a run to these files.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cacheFolder } from '../test/brokers/cache-folder.ts'
import { serverVariables } from '../test/brokers/chosen-server.ts'
import { debianRoot } from '../test/brokers/debian-root.ts'
import { wheelProgram } from '../test/brokers/python-wheel.ts'
import { run } from '../test/brokers/run.ts'
import { chooseVersions, type TestedVersion } from './supported-versions.ts'
import { leftOut, readVitestReport } from './vitest-report.ts'

const vitest = join('node_modules', 'vitest', 'vitest.mjs')
/** The tests start programs and examples with `using`, which Node.js 22 does not parse. */
const lowerUsing = import.meta.resolve('./lower-using.ts')

interface Combination {
  /** The Node.js that runs the tests. */
  readonly node: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

const files = process.argv.slice(2).filter((arg) => arg.startsWith('test/'))
const lines: string[] = []
for (const tested of chosen()) lines.push(await test(tested))
console.log(`\n${lines.join('\n')}`)

function chosen(): readonly TestedVersion[] {
  try {
    return chooseVersions(process.argv.slice(2).filter((arg) => !files.includes(arg)))
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exit(2)
  }
}

async function test(tested: TestedVersion): Promise<string> {
  const name = `${tested.name}=${tested.version}`
  console.log(`\n== ${name}`)
  const folder = await mkdtemp(join(tmpdir(), 'eventspine-versions-'))
  const started = performance.now()
  try {
    const { node, args, env } = await combinationOf(tested)
    const report = join(folder, 'vitest.json')
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
    const { status } = spawnSync(node, [vitest, 'run', ...args, ...reporters], {
      stdio: 'inherit',
      env: { ...process.env, ...env },
    })
    const results = await readVitestReport(report)
    const { reasons, unexplained } = leftOut(results)
    const hasPassed = status === 0 && unexplained.length === 0
    if (!hasPassed) process.exitCode = 1
    const { numPassedTests: passed, numFailedTests: failed, numPendingTests: pending } = results
    const seconds = ((performance.now() - started) / 1000).toFixed(0)
    const counts = `${passed} tests passed, ${failed} failed and ${pending} left out in ${seconds} s`
    return [
      `${name}: ${hasPassed ? 'passed' : 'FAILED'}, ${counts}`,
      ...[...reasons].map(([reason, count]) => `  left out: ${count}, ${reason}`),
      ...unexplained.map((test) => `  left out without a reason: ${test}`),
    ].join('\n')
  } catch (error) {
    process.exitCode = 1
    return `${name}: FAILED, ${error instanceof Error ? error.message : error}`
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function combinationOf({ name, version, debian, wheel }: TestedVersion): Promise<Combination> {
  if (name === 'node') {
    const env = version === '22' ? { NODE_OPTIONS: `--import ${lowerUsing}` } : {}
    return { node: await nodeProgram(version), args: ['--project', 'unit*', ...files], env }
  }
  if (name === 'postgres') {
    const args = argsOf('test/postgres/')
    return { node: process.execPath, args, env: { [serverVariables.postgres.version]: version } }
  }
  const kind = name === 'valkey' ? 'redis' : name
  // The folder of a bus contains its fuzz and its short torture.
  const args = argsOf(`test/${kind}/`, `test/brokers/${kind}.test.ts`)
  if (kind === 'kafka')
    return { node: process.execPath, args, env: { [serverVariables.kafka.version]: version } }
  if (wheel !== undefined)
    return {
      node: process.execPath,
      args,
      env: { [serverVariables.redis.program]: await wheelProgram(wheel) },
    }
  if (debian === undefined) throw new Error(`${name}=${version} names no Debian release`)
  const env = { [serverVariables[kind].root]: await debianRoot(debian) }
  const program = name === 'valkey' ? { [serverVariables.redis.program]: 'valkey-server' } : {}
  return { node: process.execPath, args, env: { ...env, ...program } }
}

/** The arguments of Vitest for the tests on servers, by default these. */
function argsOf(...all: readonly string[]): readonly string[] {
  return ['--project', 'brokers', ...(files.length > 0 ? files : all)]
}

/** Installs the newest Node.js of a release line from npm, once. */
async function nodeProgram(version: string): Promise<string> {
  // A test runs it as another user, who may not enter the home of root.
  const cache = process.getuid?.() === 0 ? '/var/cache/eventspine' : cacheFolder()
  const folder = join(cache, `node-${version}`)
  const program = join(folder, 'node_modules', 'node', 'bin', 'node')
  if (!existsSync(program))
    await run('npm', ['install', '--prefix', folder, '--no-audit', '--no-fund', `node@${version}`])
  console.log(`Node.js ${(await run(program, ['--version'])).trim()}`)
  return program
}
