// The time from the start to the first handled event.
import type { BrokerBench, Side } from '../broker-bench.ts'
import { compare, type Step } from '../harness.ts'
import { Arrivals } from './arrivals.ts'

/** Includes connecting, joining and reading; the client is already loaded. */
export function startStep(bench: BrokerBench): Step {
  return compare({
    work: 'start to the first handled event',
    unit: 'ms',
    ours: () => starting(bench, bench.ours),
    raw: () => starting(bench, bench.raw),
  })
}

async function starting(bench: BrokerBench, side: Side): Promise<number> {
  const arrivals = new Arrivals(10)
  await using scene = await bench.backlog(10)
  const start = performance.now()
  const started = side.consume(scene, { handlers: [arrivals.note] })
  await arrivals.whenFirst
  const figure = performance.now() - start
  await using _ = await started
  return figure
}
