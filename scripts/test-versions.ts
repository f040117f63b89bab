// npm run test:versions -- redis=8.0 node: runs the tests on other versions of the servers and of Node.js.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cacheFolder } from '../test/brokers/cache-folder.ts'
import { serverVariables } from '../test/brokers/chosen-server.ts'
import { debianRoot } from '../test/brokers/debian-root.ts'
import { run } from '../test/brokers/run.ts'
import { chooseVersions, type TestedVersion } from './supported-versions.ts'

const vitest = join('node_modules', 'vitest', 'vitest.mjs')
/** The tests start programs and examples with `using`, which Node.js 22 does not parse. */
const lowerUsing = import.meta.resolve('./lower-using.ts')

interface Combination {
  /** The Node.js that runs the tests. */
  readonly node: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

interface VitestReport {
  readonly numPassedTests: number
  readonly numFailedTests: number
}

const lines: string[] = []
for (const tested of chosen()) lines.push(await test(tested))
console.log(`\n${lines.join('\n')}`)

function chosen(): readonly TestedVersion[] {
  try {
    return chooseVersions(process.argv.slice(2))
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
    // Vitest writes it in the format of Jest's JSON report.
    const { numPassedTests, numFailedTests } = JSON.parse(await readFile(report, 'utf8')) as VitestReport
    if (status !== 0) process.exitCode = 1
    const seconds = ((performance.now() - started) / 1000).toFixed(0)
    const outcome = status === 0 ? 'passed' : 'FAILED'
    return `${name}: ${outcome}, ${numPassedTests} tests passed and ${numFailedTests} failed in ${seconds} s`
  } catch (error) {
    process.exitCode = 1
    return `${name}: FAILED, ${error instanceof Error ? error.message : error}`
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function combinationOf({ name, version, debian }: TestedVersion): Promise<Combination> {
  if (name === 'node') {
    const env = version === '22' ? { NODE_OPTIONS: `--import ${lowerUsing}` } : {}
    return { node: await nodeProgram(version), args: ['--project', 'unit'], env }
  }
  if (name === 'postgres') {
    // The published programs do not include pg_dump.
    const args = ['--project', 'brokers', 'test/postgres/', '--exclude', 'test/postgres/dump.test.ts']
    return { node: process.execPath, args, env: { [serverVariables.postgres.version]: version } }
  }
  const kind = name === 'valkey' ? 'redis' : name
  // The folder of a bus contains its fuzz and its short torture.
  const args = ['--project', 'brokers', `test/${kind}/`, `test/brokers/${kind}.test.ts`]
  if (kind === 'kafka')
    return { node: process.execPath, args, env: { [serverVariables.kafka.version]: version } }
  if (debian === undefined) throw new Error(`${name}=${version} names no Debian release`)
  const env = { [serverVariables[kind].root]: await debianRoot(debian) }
  const program = name === 'valkey' ? { [serverVariables.redis.program]: 'valkey-server' } : {}
  return { node: process.execPath, args, env: { ...env, ...program } }
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
