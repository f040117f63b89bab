import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { defaultBodyLimits } from '../../src/codec/hostile-json.ts'
import { MAX_NAME } from '../../src/codec/revive.ts'
import { MAX_DEPTH } from '../../src/rabbitmq/wire/message.ts'

const page = readFileSync(new URL('../../SECURITY.md', import.meta.url), 'utf8')

/** The cells of the row about an option or a thing. */
function limitOf(what: string): string | undefined {
  const row = page.split('\n').find((line) => line.startsWith('|') && line.includes(what))
  return row?.split('|')[3]?.trim()
}

const written = (count: number) => count.toLocaleString('en-US')

it('has the sections on supported versions, reporting, scope and limits', () => {
  for (const title of ['Supported versions', 'Reporting a vulnerability', 'Scope', 'Limits', 'The package']) {
    expect(page).toContain(`\n## ${title}\n`)
  }
})

it('lists the limits with the defaults of the code', () => {
  expect(limitOf('`maxBodyBytes`')).toBe(`${defaultBodyLimits.maxBodyBytes / 2 ** 20} MiB`)
  expect(limitOf('`maxValues`')).toBe(written(defaultBodyLimits.maxValues))
  expect(limitOf('`maxKeys`')).toBe(written(defaultBodyLimits.maxKeys))
  expect(limitOf('`maxDepth`')).toBe(written(defaultBodyLimits.maxDepth))
  expect(limitOf('ordering key')).toBe(`${written(MAX_NAME)} characters`)
  expect(limitOf("RabbitMQ's headers")).toBe(written(MAX_DEPTH))
})
