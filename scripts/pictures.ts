// npm run docs:pictures: takes pictures of the operator's page, 15 pages in two themes and two sizes, as the test of every page opens
// them, and keeps those that docs/ shows. `-- --all <folder>` keeps all of them there.
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

const { values } = parseArgs({ options: { all: { type: 'string' } } })
const docs = join(import.meta.dirname, '..', 'docs')
const folder = values.all === undefined ? mkdtempSync(join(tmpdir(), 'pictures-')) : resolve(values.all)
const { status } = spawnSync('vitest', ['run', '--project', 'unit', 'test/operator/every-page.test.ts'], {
  env: { ...process.env, EVENTSPINE_PICTURES: folder },
  stdio: 'inherit',
})
if (status !== 0) throw new Error('The test of every page has failed')
const shown = readFileSync(join(docs, 'operator-page.md'), 'utf8').matchAll(
  /\]\((pictures\/([\w-]+\.webp))\)/g,
)
for (const [, path = '', name = ''] of shown) copyFileSync(join(folder, name), join(docs, path))
if (values.all === undefined) rmSync(folder, { recursive: true })
