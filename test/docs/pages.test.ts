import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { paced } from '../support/pace.ts'
import { PAGES, programsOf, promisedBy, root } from './programs/page-programs.ts'
import { ProgramFolder } from './programs/program-folder.ts'
import type { ProgramOutcome } from './programs/run-all.ts'
import { programOfExamples } from './programs/tsdoc-examples.ts'

const pages = PAGES.map(programsOf)
const programs = pages.flatMap((page) => page.programs)
const examples = programOfExamples(false)
const examplesOnServers = programOfExamples(true)
const exampleFiles = examples.modules ?? []
const runHere = programs.filter(({ servers, runBy }) => servers.length === 0 && runBy === undefined)

/** Public names. If the package renamed one of them, the examples with it would not compile. */
const NAMES = [
  'createEventBus',
  'defineEvent',
  'publish',
  'subscribe',
  'whenCaughtUp',
  'AggregateRepository',
  'evolution',
  'SqliteStores',
  'expectPublished',
  'replayAll',
  'retryDelaysMs',
  'retryOnConflict',
]

/** Blocks in other languages: the test that proves what they show, or the reason why none does. */
const OTHERS: readonly {
  readonly page: string
  readonly start: string
  readonly test?: string
  readonly reason?: string
}[] = [
  {
    page: 'README.md',
    start: 'npm ci && npm run demo',
    reason: 'the second command is the one that runs this test, and the first is tested with its output',
  },
  { page: 'README.md', start: 'Statistics: {', test: 'test/examples/complete-example.test.ts' },
  { page: 'docs/evolving-events.md', start: 'npx eventspine schema', test: 'test/cli/schema.test.ts' },
  {
    page: 'docs/evolving-events.md',
    start: 'OrderPlaced.total: type-changed',
    test: 'test/cli/schema.test.ts',
  },
  { page: 'docs/command-line.md', start: 'npx eventspine', test: 'test/cli/commands.test.ts' },
  { page: 'docs/command-line.md', start: '0 lost', test: 'test/redis/verify.test.ts' },
  { page: 'docs/command-line.md', start: 'eval', test: 'test/cli/commands.test.ts' },
  { page: 'docs/operator-page.md', start: 'npx eventspine ui', test: 'test/cli/ui.test.ts' },
  { page: 'docs/first-steps.md', start: 'mkdir shop && cd shop', reason: 'it installs packages' },
  { page: 'docs/first-steps.md', start: 'docker run', reason: 'it starts a container' },
  { page: 'docs/settings.md', start: 'NODE_OPTIONS=', reason: 'Jest is not installed here' },
  { page: 'docs/tutorial.md', start: 'mkdir invoices && cd invoices', reason: 'it installs packages' },
]

let folder: ProgramFolder
let compiled = ''
let outcomes: Readonly<Record<string, ProgramOutcome>> = {}

const renamedFile = (name: string) => `renamed-${name}.ts`

/** A program with another name in place of a public one. */
function renamed(name: string): string {
  const pattern = new RegExp(`\\b${name}\\b`, 'g')
  const program = programs.find(({ code, file }) => file.endsWith('.ts') && pattern.test(code))
  if (program === undefined) throw new Error(`No example has ${name}`)
  return program.code.replaceAll(pattern, `${name}Renamed`)
}

beforeAll(async () => {
  folder = new ProgramFolder()
  for (const { file, code } of programs) folder.write(file, code)
  for (const { file, code } of exampleFiles) folder.write(file, code)
  for (const name of NAMES) folder.write(renamedFile(name), renamed(name))
  compiled = await folder.compile()
  outcomes = await folder.run([...runHere, examples])
}, paced(90_000))

afterAll(() => folder[Symbol.dispose]())

it('compiles the examples of all pages and of the source', () => {
  // The lines that follow an error explain it, and are indented.
  const errors = compiled.split('\n').filter((line) => /^\S/.test(line) && !line.includes('/renamed-'))

  expect(errors).toEqual([])
})

it.each(NAMES)('would not compile them if %s had another name', (name) => {
  expect(compiled).toContain(`${renamedFile(name)}(`)
})

it.each(runHere.map(({ file, code }) => [file, code]))('%s prints what its comments say', (file, code) => {
  const { stdout, error } = outcomes[file] ?? {}

  expect(error).toBeUndefined()
  expect(stdout?.split('\n').slice(0, -1)).toEqual(promisedBy(code))
})

it('runs the examples of the source that need no server', () => {
  expect(outcomes[examples.file]?.error).toBeUndefined()
})

it('knows for each other block which test proves it', () => {
  const others = pages.flatMap((page) => page.others)
  const isListed = ({ page, start }: (typeof OTHERS)[number], block: (typeof others)[number]) =>
    block.page === page && block.text.startsWith(start)

  expect(others.filter((block) => !OTHERS.some((entry) => isListed(entry, block)))).toEqual([])
  expect(OTHERS.filter((entry) => !others.some((block) => isListed(entry, block)))).toEqual([])
  const named = [...OTHERS.map(({ test }) => test), ...programs.map(({ runBy }) => runBy)]
  expect(named.filter((test) => test !== undefined && !existsSync(join(root, test)))).toEqual([])
})

it('runs at least 95 % of the blocks and examples', () => {
  const reasonOf = ({ page, text }: { readonly page: string; readonly text: string }) =>
    OTHERS.find((entry) => entry.page === page && text.startsWith(entry.start))?.reason
  const others = pages.flatMap((page) => page.others)
  const notRun = others.filter((block) => reasonOf(block) !== undefined).length
  const ofPages = programs.reduce((sum, { blocks }) => sum + blocks, 0) + others.length - notRun
  const ofSource = examples.blocks + examplesOnServers.blocks
  const run = ofPages + ofSource
  // The last one is the module with what the examples leave out.
  const all = ofPages + notRun + exampleFiles.length - 1

  expect(run / all).toBeGreaterThanOrEqual(0.95)
})
