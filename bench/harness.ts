// Rounds, medians and output that all benches share.

/** One line of a bench: ours beside the bare form, in the same run. */
export interface BenchRow {
  readonly bus: string
  readonly work: string
  readonly ours: number
  readonly raw: number
  /** Ours divided by raw where more is better, raw divided by ours where less is better: 1 is as good as bare. */
  readonly ratio: number
  readonly unit: string
  /** Smallest and largest ratio of the rounds. */
  readonly spread: readonly [number, number]
}

export interface BenchWork {
  readonly work: string
  /** `'events/s'` counts more as better, `'ms'` and `'ns'` less. */
  readonly unit: 'events/s' | 'ms' | 'ns'
  /** Each returns one figure. They run by turns. */
  readonly ours: () => Promise<number>
  readonly raw: () => Promise<number>
}

export interface BenchOptions {
  readonly bus: string
  /** Rounds of each work. Default 5. */
  readonly rounds?: number
}

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

export async function measure(
  works: readonly BenchWork[],
  { bus, rounds = 5 }: BenchOptions,
): Promise<readonly BenchRow[]> {
  const rows: BenchRow[] = []
  for (const work of works) {
    const ours: number[] = []
    const raw: number[] = []
    // One round first that does not count, so that nobody pays for compiling.
    for (let round = -1; round < rounds; round += 1) {
      progress(`${bus}: ${work.work}, round ${Math.max(round, 0) + 1} of ${rounds}`)
      const pair = [await work.ours(), await work.raw()] as const
      if (round < 0) continue
      ours.push(pair[0])
      raw.push(pair[1])
    }
    rows.push(rowOf(bus, work, ours, raw))
  }
  progress('')
  return rows
}

function rowOf(
  bus: string,
  { work, unit }: BenchWork,
  ours: readonly number[],
  raw: readonly number[],
): BenchRow {
  const ratios = ours.map((own, index) => {
    const bare = raw[index] ?? Number.NaN
    return unit === 'events/s' ? own / bare : bare / own
  })
  return {
    bus,
    work,
    ours: round(median(ours)),
    raw: round(median(raw)),
    ratio: round(median(ratios)),
    unit,
    spread: [round(Math.min(...ratios)), round(Math.max(...ratios))],
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

function round(value: number): number {
  return value >= 100 ? Math.round(value) : Number(value.toPrecision(3))
}

/** With `--json` an array on stdout and nothing else; otherwise a table. */
export function report(rows: readonly BenchRow[]): void {
  if (process.argv.includes('--json')) console.log(JSON.stringify(rows, undefined, 2))
  else console.table(rows.map(({ spread, ...row }) => ({ ...row, spread: spread.join(' - ') })))
}

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
}
