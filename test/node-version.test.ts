import { readdirSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { nodeVersionFault, OLDEST_NODE } from '../src/node-version.ts'

const root = new URL('../', import.meta.url)
const read = (path: string) => readFileSync(new URL(path, root), 'utf8')

it('refuses a Node.js that is too old in one sentence', () => {
  expect(nodeVersionFault('20.20.2')).toBe(
    'eventspine needs Node.js 22.22 or newer, and this is Node.js 20.20.2: install a newer version, for example from https://nodejs.org.',
  )
  expect(nodeVersionFault('22.21.9')).toContain('22.21.9')
  expect(nodeVersionFault('22.22.0')).toBeUndefined()
  expect(nodeVersionFault('23.0.0')).toBeUndefined()
  expect(nodeVersionFault('100.1.0-nightly')).toBeUndefined()
})

it('refuses the versions that package.json refuses', () => {
  expect(JSON.parse(read('package.json'))).toMatchObject({ engines: { node: `>=${OLDEST_NODE}` } })
})

it('is the first import of each entry point', () => {
  const { exports } = JSON.parse(read('package.json')) as { readonly exports: Record<string, object> }
  const entries = Object.keys(exports).filter((path) => !path.endsWith('.json'))

  expect(entries.length).toBeGreaterThan(7)
  for (const entry of entries) {
    const source = read(`src/${entry === '.' ? '' : `${entry.slice(2)}/`}index.ts`)
    expect(/^(?:import|export)[^;]*?'([^']+)'$/m.exec(source)?.[1]).toMatch(/^\.\.?\/node-version\.ts$/)
  }
})

/** Names of Node.js modules that an old Node.js lacks. An import of one fails before the check of the version runs. */
it('has no named import that Node.js 20 lacks', () => {
  const files = readdirSync(new URL('src/', root), { recursive: true, encoding: 'utf8' })
  const sources = files.filter((file) => file.endsWith('.ts')).map((file) => read(`src/${file}`))
  const isNew =
    /import \{[^}]*\b(?:zstd\w+|registerHooks|enableCompileCache|DatabaseSync)\b[^}]*\} from 'node:/i

  for (const source of sources) expect(source).not.toMatch(isNew)
})
