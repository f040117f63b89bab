// Builds the site into site/dist: the pages of the repository, and a reference of every public export. `npm run docs` runs it.
import { spawnSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { siteFaults } from './check.ts'
import { stage, writeIndex } from './stage.ts'

const folder = import.meta.dirname
const pages = join(folder, '.cache', 'pages')

if (!existsSync(join(folder, 'node_modules'))) run('npm', 'ci', '--no-audit', '--no-fund')
rmSync(pages, { recursive: true, force: true })
stage(pages)
writeIndex(join(pages, 'decisions'), 'Design decisions')
run(join(folder, 'node_modules', '.bin', 'typedoc'))
run(join(folder, 'node_modules', '.bin', 'vitepress'), 'build')

const faults = siteFaults(join(folder, 'dist'))
for (const fault of faults) console.error(fault)
if (faults.length > 0) process.exitCode = 1

function run(command: string, ...args: readonly string[]): void {
  const { status, error } = spawnSync(command, args, { cwd: folder, stdio: 'inherit' })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed`, { cause: error })
}
