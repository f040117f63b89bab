import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { paced } from '../support/pace.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)

/** Pages whose TypeScript blocks form one program each, which prints what its comments say. */
const PAGES = [
  'events',
  'evolving-events',
  'testing',
  'first-steps',
  'tutorial',
  'handlers',
  'how-do-i',
  'moving',
]

const textOf = (page: string) => readFileSync(join(root, 'docs', `${page}.md`), 'utf8')

const codeOf = (page: string) =>
  [...textOf(page).matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code).join('\n')

/** The comment behind each `console.log`, and the lines that a handler prints. */
const promisedBy = (code: string) =>
  [...code.matchAll(/^\s*(?:console\.log\(.*\) \/\/ |\/\/ prints )(.*)$/gm)].map(([, text]) => text)

let folder = ''

beforeAll(() => {
  // Inside the repository, so that the package and the libraries of its examples are found.
  mkdirSync(join(root, '.cache'), { recursive: true })
  folder = mkdtempSync(join(root, '.cache', 'pages-'))
  for (const page of PAGES) writeFileSync(join(folder, `${page}.ts`), codeOf(page))
  const compilerOptions = { noEmit: true, skipLibCheck: true }
  const config = { extends: '../../tsconfig.json', compilerOptions, include: ['*.ts'], exclude: [] }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config))
})

afterAll(() => rmSync(folder, { recursive: true }))

it(
  'compiles the examples of all pages',
  async () => {
    const tsc = join(root, 'node_modules/.bin/tsc')
    const { stdout } = await run(tsc, ['-p', folder]).catch((failed: { readonly stdout: string }) => failed)

    expect(stdout).toBe('')
  },
  paced(60_000),
)

it.each(PAGES)('prints what the comments of docs/%s.md say', async (page) => {
  const code = codeOf(page)
  const { stdout } = await run(process.execPath, [`${page}.ts`], { cwd: folder })

  expect(promisedBy(code).length).toBeGreaterThan(1)
  expect(stdout.split('\n').slice(0, -1)).toEqual(promisedBy(code))
})

it.each(PAGES)('docs/%s.md is linked from README.md', (page) => {
  expect(readFileSync(join(root, 'README.md'), 'utf8')).toContain(`(docs/${page}.md)`)
})
