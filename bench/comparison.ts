// Compares the rows of two runs, and judges which have changed by more than their noise.
import { existsSync, globSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { BenchRow } from './harness.ts'
import { median, rounded, spreadOf } from './statistics.ts'

/** One row of two runs, with the ratio to the bare client in each. */
export interface ComparedRow {
  readonly bus: string
  readonly work: string
  readonly peer?: string
  readonly before: Figure
  readonly after: Figure
  /** Relative change of the ratio: -0.1 if a tenth was lost. */
  readonly change: number
  /** Changes up to this size say nothing. */
  readonly noise: number
  readonly verdict: 'lost' | 'gained' | 'same'
}

type Figure = Pick<BenchRow, 'ratio' | 'spread'>

type RowName = Pick<BenchRow, 'bus' | 'work' | 'peer'>

/** A smaller change is never judged, however close the rounds are to each other. */
const LEAST_NOISE = 0.03

/** Compares the rows that both runs have, in the order of the second. */
export function compareRows(before: readonly BenchRow[], after: readonly BenchRow[]): readonly ComparedRow[] {
  const known = new Map(before.map((row) => [keyOf(row), row]))
  return after.flatMap((row) => {
    const earlier = known.get(keyOf(row))
    return earlier === undefined ? [] : [compared(earlier, row)]
  })
}

/** The rows of several runs of the same benchmark: the median of their ratios, and the spread over the runs. */
export function mergeRuns(runs: readonly (readonly BenchRow[])[]): readonly BenchRow[] {
  const byKey = Map.groupBy(runs.flat(), keyOf)
  return [...byKey.values()].flatMap((rows) => {
    const [first] = rows
    if (first === undefined) return []
    const ratios = rows.map(({ ratio }) => ratio)
    const [ours, raw] = [median(rows.map((row) => row.ours)), median(rows.map((row) => row.raw))]
    return [{ ...first, ours, raw, ratio: rounded(median(ratios)), spread: spreadOf(ratios) }]
  })
}

/** True for two figures of the same workload. */
export function isSameRow(one: RowName, other: RowName): boolean {
  return keyOf(one) === keyOf(other)
}

/** Prints both runs side by side. @returns the rows that have lost more than their noise. */
export function printComparison(rows: readonly ComparedRow[]): readonly ComparedRow[] {
  console.table(
    rows.map(({ bus, work, peer, before, after, change, noise, verdict }) => ({
      bus,
      work: peer === undefined ? work : `${work}, vs ${peer}`,
      before: textOf(before),
      after: textOf(after),
      change: percent(change),
      noise: percent(noise),
      verdict: verdict === 'same' ? '' : verdict,
    })),
  )
  const lost = rows.filter(({ verdict }) => verdict === 'lost')
  console.log(`${lost.length} of ${rows.length} rows lost more than their noise.`)
  return lost
}

/**
 * The rows of an earlier run.
 * @param path - what `--json` printed, a file of `bench/results/`, or a copy of that folder.
 * @throws Error if there is no such file.
 */
export function readRows(path: string): readonly BenchRow[] {
  if (!existsSync(path)) throw new Error(`--compare takes a file or folder of results; there is no ${path}`)
  if (!statSync(path).isDirectory()) return rowsOf(path)
  return globSync('*.json', { cwd: path }).flatMap((name) => rowsOf(join(path, name)))
}

function rowsOf(file: string): readonly BenchRow[] {
  // The format of `report` and of `print`.
  const content = JSON.parse(readFileSync(file, 'utf8')) as
    | readonly BenchRow[]
    | { readonly rows: readonly BenchRow[] }
  return 'rows' in content ? content.rows : content
}

function compared(before: BenchRow, after: BenchRow): ComparedRow {
  const { bus, work, peer } = after
  const change = (after.ratio - before.ratio) / before.ratio
  const noise = Math.max(LEAST_NOISE, (deviation(before) + deviation(after)) / before.ratio)
  const verdict = Math.abs(change) <= noise ? 'same' : change < 0 ? 'lost' : 'gained'
  return { bus, work, ...(peer === undefined ? {} : { peer }), before, after, change, noise, verdict }
}

/** Half of the spread, which is about two standard errors of the median of five. */
function deviation({ spread: [least, most] }: Figure): number {
  return (most - least) / 2
}

function keyOf({ bus, work, peer }: RowName): string {
  return JSON.stringify([bus, work, peer])
}

function textOf({ ratio, spread }: Figure): string {
  return `${ratio} (${spread.join(' - ')})`
}

function percent(part: number): string {
  return `${(part * 100).toFixed(1)} %`
}
