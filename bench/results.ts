// The figures of a run: printed, and kept in bench/results for the documentation.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { isJson, isQuick, only } from './arguments.ts'
import type { BenchRow } from './harness.ts'
import { type Machine, thisMachine } from './machine.ts'

/** What bench/results/<bus>.json holds. */
export interface BenchResult {
  readonly bus: string
  /** Day of the run. */
  readonly date: string
  readonly machine: Machine
  /** Of the broker, of clients and of peers, by name. */
  readonly versions: Readonly<Record<string, string>>
  readonly rows: readonly BenchRow[]
}

const folder = new URL('./results/', import.meta.url)

/** A whole run is kept; every run is printed. */
export function report(
  bus: string,
  rows: readonly BenchRow[],
  versions: Readonly<Record<string, string>> = {},
): void {
  if (!isQuick && only === undefined) save({ bus, ...now(), versions, rows })
  print(rows)
}

/** With `--json` an array on stdout and nothing else; otherwise a table. */
export function print(rows: readonly BenchRow[]): void {
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

/** The kept results, in the order of their names. */
export function loadResults(): readonly BenchResult[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .toSorted()
    .map((name) => JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as BenchResult)
}
