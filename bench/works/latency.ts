// The time from publish to the handler, at 100 events a second.
import { setTimeout as wait } from 'node:timers/promises'
import { isQuick } from '../arguments.ts'
import type { BrokerBench, Side } from '../broker-bench.ts'
import { type BenchRow, inTime, type Pair, ROUNDS, ratioOf, type Step } from '../harness.ts'
import { orderEvents } from '../order.ts'
import { quantile, rounded, spreadOf } from '../statistics.ts'

const INTERVAL_MS = 10
/** Number of warm-up events per round, which do not count. */
const WARM_UP = 10
const EVENTS = isQuick ? 10 : 200
const WORK = 'publish to handler at 100 events/s'

interface Times {
  readonly ours: readonly number[]
  readonly raw: readonly number[]
}

const percentiles = [
  ['p50', 0.5],
  ['p99', 0.99],
  ['p99.9', 0.999],
] as const

/** The part of a bus that this workload needs. */
type LatencyBench = Pick<BrokerBench, 'ours' | 'raw' | 'scene'>

export function latencyStep(bench: LatencyBench): Step {
  return {
    work: WORK,
    async run(bus) {
      const rounds: Times[] = []
      for (let round = 0; round < ROUNDS; round += 1) {
        const ours = await inTime(WORK, () => latencies(bench, bench.ours))
        rounds.push({ ours, raw: await inTime(WORK, () => latencies(bench, bench.raw)) })
      }
      return percentiles.map(([name, fraction]) => rowOf(bus, `${WORK}, ${name}`, rounds, fraction))
    },
  }
}

/** The figures cover all rounds together: one round has too few events for the highest percentile. */
function rowOf(bus: string, work: string, rounds: readonly Times[], fraction: number): BenchRow {
  const pairOf = ({ ours, raw }: Times): Pair => [quantile(ours, fraction), quantile(raw, fraction)]
  const pair = pairOf({ ours: rounds.flatMap(({ ours }) => ours), raw: rounds.flatMap(({ raw }) => raw) })
  return {
    bus,
    work,
    ours: rounded(pair[0]),
    raw: rounded(pair[1]),
    ratio: rounded(ratioOf('ms', pair)),
    unit: 'ms',
    spread: spreadOf(rounds.map((times) => ratioOf('ms', pairOf(times)))),
  }
}

/** Milliseconds of each event. Events are published on schedule, even if the previous one has not arrived. */
async function latencies(bench: LatencyBench, side: Side): Promise<readonly number[]> {
  const events = orderEvents(WARM_UP + EVENTS)
  const [starts, times]: [number[], number[]] = [[], []]
  let seen = 0
  const all = Promise.withResolvers<void>()
  await using scene = await bench.scene()
  await using publisher = await side.publisher(scene)
  await using _ = await side.consume(scene, {
    handlers: [
      ({ total }) => {
        if (times[total] !== undefined) return
        times[total] = performance.now() - (starts[total] ?? Number.NaN)
        seen += 1
        if (seen === events.length) all.resolve()
      },
    ],
  })
  const begin = performance.now()
  const published = []
  for (const [index, event] of events.entries()) {
    await wait(Math.max(0, begin + index * INTERVAL_MS - performance.now()))
    starts[index] = performance.now()
    published.push(publisher.publish([event]))
  }
  await Promise.all([...published, all.promise])
  return times.slice(WARM_UP)
}
