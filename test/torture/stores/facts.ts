import { closeSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { now } from '../../../src/verify/clock.ts'

/** The knowledge of the processes of a run, one line each. */
export type StoreFact =
  | { readonly kind: 'stored' | 'notStored' | 'unknown'; readonly ids: readonly string[] }
  | { readonly kind: 'handled'; readonly subscription: string; readonly handler: string; readonly id: string }
  | { readonly kind: 'fault'; readonly name: string }
  /** Something showed the password of the run. */
  | { readonly kind: 'leaked'; readonly what: string }
  | {
      readonly kind: 'ended'
      readonly process: string
      readonly exitCode: number | null
      readonly output: string
    }
  | { readonly kind: 'unsettled'; readonly subscription: string }
  | { readonly kind: 'parked'; readonly subscription: string; readonly id: string }

export type TimedFact = StoreFact & { readonly at: number }

/** Appends facts to the file of one process. Writes are synchronous, so that a kill loses none. */
export class StoreHistory {
  readonly #file: number

  constructor(folder: string, process: string) {
    this.#file = openSync(join(folder, `${process}.jsonl`), 'a')
  }

  record(fact: StoreFact): void {
    writeSync(this.#file, `${JSON.stringify({ at: now(), ...fact })}\n`)
  }

  close(): void {
    closeSync(this.#file)
  }
}

/** The facts of a run in order of time. Leaves out a last line that a kill truncated. */
export function readFacts(folder: string): readonly TimedFact[] {
  const files = readdirSync(folder).filter((name) => name.endsWith('.jsonl'))
  const lines = files.flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n').slice(0, -1))
  // Written by the processes of the run.
  return lines.map((line) => JSON.parse(line) as TimedFact).toSorted((a, b) => a.at - b.at)
}
