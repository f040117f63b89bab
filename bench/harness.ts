// Rounds by turns, and what they come to.
import { isQuick, only } from './arguments.ts'
import { median, rounded, spreadOf } from './statistics.ts'

/** One line of a bench: ours beside something else that did the same work in the same run. */
export interface BenchRow {
  readonly bus: string
  readonly work: string
  /** Whom ours is compared with; absent where it is the bare client, loop or call. */
  readonly peer?: string
  readonly ours: number
  /** The figure of the bare client, or of the peer. */
  readonly raw: number
  /** Ours divided by raw where more is better, raw divided by ours where less is better: 1 is as good as raw. */
  readonly ratio: number
  readonly unit: Unit
  /** Smallest and largest ratio of the rounds. */
  readonly spread: readonly [number, number]
}

/** `'events/s'` counts more as better, the rest less. */
export type Unit = 'events/s' | 'ms' | 'ns' | 'MiB'

/** One work, done by turns by two. Each call does it once and returns its figure. */
export interface Comparison {
  readonly work: string
  readonly unit: Unit
  readonly peer?: string
  readonly ours: () => Promise<number>
  readonly raw: () => Promise<number>
  /** Default 5. */
  readonly rounds?: number
}

/** One or several rows that are measured together. */
export interface Step {
  readonly work: string
  readonly run: (bus: string) => Promise<readonly BenchRow[]>
}

/** A round longer than this hangs. */
const ROUND_LIMIT_MS = 240_000

export const ROUNDS = isQuick ? 1 : 5

/** Rounds before them that do not count, so that nobody pays for compiling. */
export const WARM_UPS = isQuick ? 0 : 1

/** Events per second of something that handles `count` of them. */
export async function rate(count: number, body: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await body()
  return (count / (performance.now() - start)) * 1000
}

/** Nanoseconds per call. */
export async function cost(count: number, body: () => Promise<unknown>): Promise<number> {
  return 1e9 / (await rate(count, body))
}

/** The step that measures one comparison. */
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

/** They take turns at going first. */
async function oneRound({ work, ours, raw }: Comparison, round: number): Promise<Pair> {
  if (round % 2 === 0) return [await inTime(work, ours), await inTime(work, raw)]
  const other = await inTime(work, raw)
  return [await inTime(work, ours), other]
}

/** A work that hangs must not hang the bench. */
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

/** Medians of the figures and of the ratios of each round. */
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

/** Runs the steps that the command line asks for, one after the other. */
export async function runSteps(bus: string, steps: readonly Step[]): Promise<readonly BenchRow[]> {
  const rows: BenchRow[] = []
  for (const [index, step] of steps.entries()) {
    if (only !== undefined && !step.work.includes(only)) continue
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

/** On a terminal the line is written over by the next one; elsewhere only finished works are told. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
  else if (!/, round \d+ of \d+$/.test(text)) process.stderr.write(`${text}\n`)
}
