import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { goalGroups, rowOfGoal } from '../../bench/report/goals.ts'
import { introductions, remarks } from '../../bench/report/remarks.ts'
import { docsOf } from '../../bench/report/write-docs.ts'
import { loadResults } from '../../bench/results.ts'

const docs = new URL('../../docs/', import.meta.url)
const results = loadResults()
const rows = results.flatMap((result) => result.rows)

test('docs/benchmarks.md and the charts match the results', () => {
  for (const [path, content] of docsOf(results)) {
    expect(readFileSync(new URL(path, docs), 'utf8'), `${path}: run npm run bench:docs`).toBe(content)
  }
})

test('every chart belongs to a result', () => {
  const charts = readdirSync(new URL('charts/', docs)).map((name) => `charts/${name}`)

  expect([...docsOf(results).keys()]).toEqual(expect.arrayContaining(charts))
})

test('every goal has a row', () => {
  const goals = goalGroups.flatMap((group) => group.goals)

  expect(goals.filter((goal) => rowOfGoal(rows, goal) === undefined)).toEqual([])
})

test('every remark is about an existing row', () => {
  expect(remarks.filter((remark) => rowOfGoal(rows, { ...remark, figure: 'ratio' }) === undefined)).toEqual(
    [],
  )
})

test('every result has an introduction', () => {
  expect(results.map(({ bus }) => bus).filter((bus) => introductions[bus] === undefined)).toEqual([])
})

test('no two rows have the same workload', () => {
  const keys = rows.map(({ bus, work, peer }) => JSON.stringify([bus, work, peer]))

  expect(keys.filter((key, index) => keys.indexOf(key) !== index)).toEqual([])
})

test('results contain no host name and no path', () => {
  for (const { machine, versions } of results) {
    expect(JSON.stringify({ machine, versions })).not.toMatch(/\/(home|root|work|tmp|usr)\//)
  }
})
