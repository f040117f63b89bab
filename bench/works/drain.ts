// Started by million.ts in a separate process, so that its memory contains only the drain.
import type { Side } from '../broker-bench.ts'
import { brokerBench, brokerKindOf } from '../brokers/index.ts'
import type { Order } from '../order.ts'
import { Arrivals } from './arrivals.ts'
import { type Memory, MemorySamples } from './memory-samples.ts'

/** The program's output. */
export interface Drain extends Memory {
  /** Events per second. */
  readonly rate: number
}

interface DrainOrder {
  readonly bus: string
  readonly url: string
  readonly side: 'ours' | 'raw'
  readonly count: number
  readonly name: string
  readonly group: string
}

async function drain(side: Side, { name, group, count }: DrainOrder): Promise<Drain> {
  const arrivals = new Arrivals(count)
  const samples = new MemorySamples(count)
  const handler = (event: Order) => {
    samples.note()
    arrivals.note(event)
  }
  const scene = { name, group, [Symbol.asyncDispose]: () => Promise.resolve() }
  await using _ = await side.consume(scene, { handlers: [handler] })
  return { rate: await arrivals.whenAll, ...samples.peaks }
}

if (process.argv[1] === import.meta.filename) {
  // Written by million.ts.
  const order = JSON.parse(process.argv[2] ?? '') as DrainOrder
  await using bench = await brokerBench(brokerKindOf(order.bus), order.url)
  console.log(JSON.stringify(await drain(bench[order.side], order)))
}
