// Prints the figures of a run and stores them in bench/results for the documentation.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { compareWith, isJson, isQuick, isUnsaved, only } from './arguments.ts'
import { compareRows, printComparison, readRows } from './comparison.ts'
import type { BenchRow } from './harness.ts'
import { type Machine, thisMachine } from './machine.ts'

/** Contents of bench/results/<bus>.json. */
export interface BenchResult {
  readonly bus: string
  /** Date of the run. */
  readonly date: string
  readonly machine: Machine
  /** Versions of the broker, clients and peers, by name. */
  readonly versions: Readonly<Record<string, string>>
  readonly rows: readonly BenchRow[]
}

/** Read before the run, which may replace it. */
const earlier = compareWith === undefined ? undefined : readRows(compareWith)

const folder = new URL('./results/', import.meta.url)

/** Prints every run, and stores complete ones. */
export function report(
  bus: string,
  rows: readonly BenchRow[],
  versions: Readonly<Record<string, string>> = {},
): void {
  if (!isQuick && !isUnsaved && only === undefined) save({ bus, ...now(), versions, rows })
  print(rows)
}

/** Prints only a JSON array with `--json`, otherwise a table. */
export function print(rows: readonly BenchRow[]): void {
  if (!isJson && earlier !== undefined) {
    printComparison(compareRows(earlier, rows))
    return
  }
  if (isJson) console.log(JSON.stringify(rows, undefined, 2))
  else console.table(rows.map(({ spread, ...row }) => ({ ...row, spread: spread.join(' - ') })))
}

function now(): Pick<BenchResult, 'date' | 'machine'> {
  return { date: new Date().toISOString().slice(0, 10), machine: thisMachine() }
}

function save(result: BenchResult): void {
  mkdirSync(folder, { recursive: true })
  writeFileSync(new URL(`${result.bus}.json`, folder), `${JSON.stringify(result, undefined, 2)}\n`)
}

/** The stored results, sorted by name. */
export function loadResults(): readonly BenchResult[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .toSorted()
    .map((name) => JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as BenchResult)
}
