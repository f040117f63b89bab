import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

const root = new URL('../../', import.meta.url)
const page = readFileSync(new URL('docs/reliability.md', root), 'utf8')
const rows = page.split('\n').filter((line) => /^\| [A-Z]-?\d/.test(line))
const proofs = [...page.matchAll(/`((?:test|src)\/[^`]+)`: \*([^*]+)\*/g)].map(
  ([, file = '', name = '']) => ({
    file,
    name,
  }),
)

it.each(proofs)('$file contains the test "$name" that the page quotes', ({ file, name }) => {
  expect(readFileSync(new URL(file, root), 'utf8')).toContain(name)
})

it('has a row for each fault, with a proof or a reason for its absence', () => {
  const ids = rows.map((row) => row.split('|')[1]?.trim())

  expect(new Set(ids).size).toBe(ids.length)
  expect(ids).toHaveLength(199)
  for (const row of rows) expect(row).toMatch(/`: \*|no test|not applicable/)
})
