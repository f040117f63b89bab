import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { compareRows, mergeRuns, readRows } from '../../bench/comparison.ts'
import type { BenchRow } from '../../bench/harness.ts'

function row(work: string, ratio: number, spread: readonly [number, number] = [ratio, ratio]): BenchRow {
  return { bus: 'memory', work, ours: 1, raw: 1, ratio, spread, unit: 'events/s' }
}

test('a row is lost if its ratio fell by more than half of both spreads together', () => {
  const before = [row('quiet', 0.5, [0.49, 0.51]), row('noisy', 0.5, [0.4, 0.6])]
  const after = [row('quiet', 0.45, [0.44, 0.46]), row('noisy', 0.45, [0.4, 0.5])]

  const rows = compareRows(before, after)

  expect(rows.map(({ work, verdict }) => [work, verdict])).toEqual([
    ['quiet', 'lost'],
    ['noisy', 'same'],
  ])
  expect(rows[0]?.change).toBeCloseTo(-0.1)
  expect(rows[0]?.noise).toBeCloseTo(0.04)
})

test('a row gains in the same way, and changes of up to 3 % count as noise', () => {
  const before = [row('faster', 0.5), row('equal', 0.5), row('slower', 0.5)]
  const after = [row('faster', 0.52), row('equal', 0.49), row('slower', 0.48)]

  expect(compareRows(before, after).map(({ verdict }) => verdict)).toEqual(['gained', 'same', 'lost'])
})

test('rows that only one of the runs has are left out', () => {
  const peer = { ...row('shared', 0.5), peer: 'emittery' }

  const rows = compareRows([row('shared', 1), row('removed', 1)], [row('shared', 1), peer, row('added', 1)])

  expect(rows.map(({ work, peer }) => [work, peer])).toEqual([['shared', undefined]])
})

test('several runs of a benchmark become one, whose spread is that of the runs', () => {
  const runs = [0.5, 0.9, 0.6].map((ratio) => [row('dispatch', ratio, [0, 2]), row('start', 1)])

  expect(mergeRuns(runs)).toEqual([row('dispatch', 0.6, [0.5, 0.9]), row('start', 1)])
})

test('results are read from a stored file, from printed JSON and from a folder', () => {
  const folder = mkdtempSync(join(tmpdir(), 'eventspine-results-'))
  const [stored, printed] = [join(folder, 'stored.json'), join(folder, 'printed.json')]
  writeFileSync(stored, JSON.stringify({ bus: 'memory', rows: [row('stored', 1)] }))
  writeFileSync(printed, JSON.stringify([row('printed', 1)]))

  expect(readRows(stored)).toEqual([row('stored', 1)])
  expect(readRows(printed)).toEqual([row('printed', 1)])
  expect(readRows(folder).map(({ work }) => work)).toEqual(expect.arrayContaining(['stored', 'printed']))
  expect(() => readRows(join(folder, 'missing.json'))).toThrow(/there is no .*missing.json/)
})
