import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { goalGroups, rowOfGoal } from '../../bench/report/goals.ts'
import { introductions, remarks } from '../../bench/report/remarks.ts'
import { docsOf } from '../../bench/report/write-docs.ts'
import { loadResults } from '../../bench/results.ts'

const docs = new URL('../../docs/', import.meta.url)
const results = loadResults()
const rows = results.flatMap((result) => result.rows)

test('docs/benchmarks.md and the charts are what the results make', () => {
  for (const [path, content] of docsOf(results)) {
    expect(readFileSync(new URL(path, docs), 'utf8'), `${path}: run npm run bench:docs`).toBe(content)
  }
})

test('no chart is left of a result that is gone', () => {
  const charts = readdirSync(new URL('charts/', docs)).map((name) => `charts/${name}`)

  expect([...docsOf(results).keys()]).toEqual(expect.arrayContaining(charts))
})

test('every goal has a row', () => {
  const goals = goalGroups.flatMap((group) => group.goals)

  expect(goals.filter((goal) => rowOfGoal(rows, goal) === undefined)).toEqual([])
})

test('every remark is about a row that there is', () => {
  expect(remarks.filter((remark) => rowOfGoal(rows, { ...remark, figure: 'ratio' }) === undefined)).toEqual(
    [],
  )
})

test('every result is introduced', () => {
  expect(results.map(({ bus }) => bus).filter((bus) => introductions[bus] === undefined)).toEqual([])
})

test('no two rows are about the same work', () => {
  const keys = rows.map(({ bus, work, peer }) => JSON.stringify([bus, work, peer]))

  expect(keys.filter((key, index) => keys.indexOf(key) !== index)).toEqual([])
})

test('results name no host and no path', () => {
  for (const { machine, versions } of results) {
    expect(JSON.stringify({ machine, versions })).not.toMatch(/\/(home|root|work|tmp|usr)\//)
  }
})
