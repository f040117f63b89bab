import { readdirSync, readFileSync } from 'node:fs'
import { check } from 'recheck'
import { expect, it } from 'vitest'
import { paced } from '../support/pace.ts'

const src = new URL('../../src/', import.meta.url)
const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))

/** Files whose expressions see no text from outside, each with what they see instead. */
const OWN_TEXTS: Readonly<Record<string, string>> = {
  'events/definition-site.ts': 'a line of a stack trace of this process',
  'kit/optional-package.ts': 'the URL of its own module',
}

/** A regular expression literal: where one may stand, and what ends it. */
const LITERAL =
  /(?<=^\s*|[(,=:[!&|?{;]\s*|=>\s*|return\s+)\/(?![*/])((?:\\.|\[(?:\\.|[^\]\\])*\]|[^/\\[])+)\/([dgimsuvy]*)/g

/** The code of a file, without lines of comments. */
function codeOf(file: string): string {
  const lines = readFileSync(new URL(file, src), 'utf8').split('\n')
  return lines.filter((line) => !/^\s*(\/\/|\/?\*)/.test(line)).join('\n')
}

const literals = files.flatMap((file) =>
  codeOf(file)
    .split('\n')
    .flatMap((line) => [...line.matchAll(LITERAL)])
    .map(([literal, source = '', flags = '']) => ({ file, literal, source, flags })),
)

it('finds the literals, of which each is a valid expression', () => {
  expect(literals.length).toBeGreaterThan(30)
  const folders = new Set(files.map((file) => file.split('/')[0]))
  for (const folder of ['kafka', 'rabbitmq', 'redis', 'postgres', 'sqlite', 'subscriptions', 'store'])
    expect(folders).toContain(folder)
  expect(literals.map(({ literal }) => literal)).toContain(String.raw`/^-?\d+$/`)
  for (const { source, flags } of literals) expect(() => new RegExp(source, flags)).not.toThrow()
})

it('finds no expression that is made of a text at run time', () => {
  for (const file of files) expect(codeOf(file), file).not.toMatch(/\bRegExp\(/)
})

it('recognizes superlinear expressions', async () => {
  expect((await check(String.raw`[.\s]+$`, '')).status).toBe('vulnerable')
})

const fromOutside = literals.filter(({ file }) => OWN_TEXTS[file] === undefined)

it.each(fromOutside)('$literal in $file is linear', async ({ source, flags }) => {
  // The checker is a program for this platform if there is one; in JavaScript it takes several times the CPU time.
  const result = await check(source, flags, { timeout: paced(30_000) })

  expect(result).toMatchObject({
    status: 'safe',
    complexity: { type: expect.stringMatching(/^(safe|linear)$/) },
  })
})
