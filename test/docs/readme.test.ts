import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'
import { paced } from '../support/pace.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const readme = readFileSync(join(root, 'README.md'), 'utf8')

/** The TypeScript of a section, as it is pasted. */
function codeOf(heading: string): string {
  const section = readme.split(`## ${heading}\n`)[1]?.split('\n## ')[0] ?? ''
  return [...section.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code).join('\n')
}

/** The first example and the event sourcing section as one program, in a folder from which the package is found. */
function writeProgram(): string {
  mkdirSync(join(root, '.cache'), { recursive: true })
  const folder = mkdtempSync(join(root, '.cache', 'readme-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const first = codeOf('A first example').split('import { RedisEventBus }')[0]
  writeFileSync(join(folder, 'first.ts'), `${first}\n${codeOf('Event sourcing')}`)
  return folder
}

it(
  'handles every event of both runs when its event sourcing example is run twice, and none again',
  () => {
    const folder = writeProgram()
    const run = () =>
      execFileSync(process.execPath, ['first.ts'], { cwd: folder, encoding: 'utf8' }).split('\n')
    const sumsOf = (lines: readonly string[]) => lines.filter((line) => line.startsWith('sums: 42 for'))
    const invoicesOf = (lines: readonly string[]) => lines.filter((line) => line.startsWith('invoice 42 to'))
    const [first, second] = [run(), run()]

    // The relay publishes to the bus of the first example, whose own event is not stored.
    expect([sumsOf(first).length, invoicesOf(first).length]).toEqual([1, 2])
    expect([sumsOf(second).length, invoicesOf(second).length]).toEqual([1, 2])
    expect(sumsOf(first)).not.toEqual(sumsOf(second))
  },
  paced(30_000),
)
