// Runs one test file that uses `eventspine/testing` with node:test, Vitest and Jest. npm installs Jest into node_modules/.cache.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const JEST = '30.5.2'

const root = join(import.meta.dirname, '..')
const folder = join(root, 'test', 'testing', 'runners')
const file = join(folder, 'kit.test.mjs')
const config = { rootDir: folder, testMatch: ['**/*.test.{mjs,cjs}'], transform: {}, testEnvironment: 'node' }

const runners: readonly { readonly name: string; readonly command: () => readonly string[] }[] = [
  { name: 'node:test', command: () => [process.execPath, '--test', file] },
  {
    name: 'Vitest',
    command: () => [
      join(root, 'node_modules', '.bin', 'vitest'),
      ...['run', '--globals', '--root', folder, '--config', vitestConfig()],
    ],
  },
  {
    name: 'Jest',
    command: () => [
      ...[process.execPath, '--experimental-vm-modules', jest(), '--config', JSON.stringify(config)],
    ],
  },
]

for (const { name, command } of runners) {
  const [program = '', ...args] = command()
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: root, encoding: 'utf8' })
  console.log(status === 0 ? `${name}: passed` : `${name}: FAILED\n${stdout}${stderr}`)
  if (status !== 0) process.exitCode = 1
}

/** A configuration of its own: that of this repository measures the machine, and starts brokers. */
function vitestConfig(): string {
  const path = join(cache('vitest'), 'vitest.config.mjs')
  writeFileSync(path, `export default { test: { include: ['**/*.test.mjs'] } }\n`)
  return path
}

/** @returns the path of Jest's command. */
function jest(): string {
  const home = cache(`jest-${JEST}`)
  const bin = join(home, 'node_modules', 'jest', 'bin', 'jest.js')
  if (existsSync(bin)) return bin
  writeFileSync(join(home, 'package.json'), '{ "private": true }')
  const install = ['install', '--no-audit', '--no-fund', '--no-save', `jest@${JEST}`]
  const { status, stderr } = spawnSync('npm', install, { cwd: home, encoding: 'utf8' })
  if (status !== 0) throw new Error(`npm install jest@${JEST} failed:\n${stderr}`)
  return bin
}

function cache(name: string): string {
  const path = join(root, 'node_modules', '.cache', name)
  mkdirSync(path, { recursive: true })
  return path
}
