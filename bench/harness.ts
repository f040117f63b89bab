// Runs both sides of a comparison in alternating rounds and summarizes the figures.
import { isQuick, only } from './arguments.ts'
import { median, rounded, spreadOf } from './statistics.ts'

/** One row of a benchmark: eventspine compared with something else that did the same work in the same run. */
export interface BenchRow {
  readonly bus: string
  readonly work: string
  /** Name of the peer; absent if the comparison is with the bare client, loop or call. */
  readonly peer?: string
  readonly ours: number
  /** The figure of the bare client, or of the peer. */
  readonly raw: number
  /** `ours / raw` if more is better, `raw / ours` if less is better. 1 means that both are equal. */
  readonly ratio: number
  readonly unit: Unit
  /** Smallest and largest ratio of all rounds. */
  readonly spread: readonly [number, number]
}

/** For `'events/s'` more is better, for all other units less. */
export type Unit = 'events/s' | 'ms' | 'ns' | 'MiB'

/** One workload for two sides. Each call runs it once and returns its figure. */
export interface Comparison {
  readonly work: string
  readonly unit: Unit
  readonly peer?: string
  readonly ours: () => Promise<number>
  readonly raw: () => Promise<number>
  /** Default 5. */
  readonly rounds?: number
}

/** One row, or several that are measured together. */
export interface Step {
  readonly work: string
  readonly run: (bus: string) => Promise<readonly BenchRow[]>
}

/** A round that takes longer counts as hanging. */
const ROUND_LIMIT_MS = 240_000

export const ROUNDS = isQuick ? 1 : 5

/** Warm-up rounds, which do not count, so that neither side pays for compilation. */
export const WARM_UPS = isQuick ? 0 : 1

/** Events per second of a run that handles `count` events. */
export async function rate(count: number, body: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await body()
  return (count / (performance.now() - start)) * 1000
}

/** Nanoseconds per call. */
export async function cost(count: number, body: () => Promise<unknown>): Promise<number> {
  return 1e9 / (await rate(count, body))
}

/** @returns the step that measures one comparison. */
export function compare(comparison: Comparison): Step {
  const { work, unit, peer, rounds = ROUNDS } = comparison
  return {
    work: peer === undefined ? work : `${work}, vs ${peer}`,
    async run(bus) {
      const pairs: Pair[] = []
      for (let round = -WARM_UPS; round < rounds; round += 1) {
        progress(`${bus}: ${work}, round ${Math.max(round, 0) + 1} of ${rounds}`)
        const pair = await oneRound(comparison, round)
        if (round >= 0) pairs.push(pair)
      }
      return [rowOf({ bus, work, unit, ...(peer === undefined ? {} : { peer }) }, pairs)]
    },
  }
}

/** The figures of one round: ours, then the other's. */
export type Pair = readonly [ours: number, raw: number]

/** The two sides alternate in going first. */
async function oneRound({ work, ours, raw }: Comparison, round: number): Promise<Pair> {
  if (round % 2 === 0) return [await inTime(work, ours), await inTime(work, raw)]
  const other = await inTime(work, raw)
  return [await inTime(work, ours), other]
}

/** A workload that hangs must not hang the benchmark. */
export async function inTime<T>(work: string, body: () => Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const fail = () => reject(new Error(`${work} took more than ${ROUND_LIMIT_MS / 1000} s`))
  const timer = setTimeout(fail, ROUND_LIMIT_MS)
  try {
    return await Promise.race([body(), promise])
  } finally {
    clearTimeout(timer)
  }
}

type RowHead = Pick<BenchRow, 'bus' | 'work' | 'peer' | 'unit'>

/** The medians of the figures, and of the ratios of all rounds. */
export function rowOf(head: RowHead, pairs: readonly Pair[]): BenchRow {
  const ratios = pairs.map((pair) => ratioOf(head.unit, pair))
  return {
    ...head,
    ours: rounded(median(pairs.map(([ours]) => ours))),
    raw: rounded(median(pairs.map(([, raw]) => raw))),
    ratio: rounded(median(ratios)),
    spread: spreadOf(ratios),
  }
}

export function ratioOf(unit: Unit, [ours, raw]: Pair): number {
  return unit === 'events/s' ? ours / raw : raw / ours
}

/** Runs the steps that the command line selects, in sequence. */
export async function runSteps(bus: string, steps: readonly Step[]): Promise<readonly BenchRow[]> {
  const rows: BenchRow[] = []
  for (const [index, step] of steps.entries()) {
    if (only !== undefined && !only.some((text) => step.work.includes(text))) continue
    const start = performance.now()
    const measured = await step.run(bus)
    rows.push(...measured)
    const seconds = ((performance.now() - start) / 1000).toFixed(1)
    for (const row of measured) {
      progress(`${bus} ${index + 1}/${steps.length}: ${row.work}: ${sentenceOf(row)} (${seconds} s)`)
      if (process.stderr.isTTY) process.stderr.write('\n')
    }
  }
  return rows
}

function sentenceOf({ ours, raw, ratio, unit, peer = 'bare', spread }: BenchRow): string {
  return `${ours} ${unit}, ${peer} ${raw}, ratio ${ratio} (${spread.join(' to ')})`
}

/** On a terminal, each line overwrites the previous one; otherwise only finished workloads are reported. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
  else if (!/, round \d+ of \d+$/.test(text)) process.stderr.write(`${text}\n`)
}
