// A peer on both sides of a broker: publishing in batches, and consuming the published events.
import { sized } from '../arguments.ts'
import type { BrokerBench } from '../broker-bench.ts'
import { inTime, ROUNDS, rowOf, type Step, WARM_UPS } from '../harness.ts'
import { orderEvents } from '../order.ts'
import { consuming } from '../works/consume.ts'
import { inBatches } from '../works/publish.ts'

/** Events per second. */
export interface BothEnds {
  readonly publish: number
  readonly consume: number
}

export const PUBLISH = 'publish in batches of 100'
export const CONSUME = 'consume with acknowledgment'

/** Each side moves enough events to measure it; the rates are compared. */
export function bothEndsStep(bench: BrokerBench, peer: string, theirs: () => Promise<BothEnds>): Step {
  return {
    work: `vs ${peer}`,
    async run(bus) {
      const rounds: { readonly ours: BothEnds; readonly theirs: BothEnds }[] = []
      for (let round = -WARM_UPS; round < ROUNDS; round += 1) {
        const own = await inTime(peer, () => ours(bench))
        const figures = { ours: own, theirs: await inTime(peer, theirs) }
        if (round >= 0) rounds.push(figures)
      }
      const row = (work: string, end: keyof BothEnds) =>
        rowOf(
          { bus, work, peer, unit: 'events/s' },
          rounds.map((round) => [round.ours[end], round.theirs[end]]),
        )
      return [row(PUBLISH, 'publish'), row(CONSUME, 'consume')]
    },
  }
}

async function ours(bench: BrokerBench): Promise<BothEnds> {
  const consume = await consuming(bench, bench.ours, { count: sized(bench.counts.consume) })
  await using scene = await bench.scene()
  await using publisher = await bench.ours.publisher(scene)
  return { publish: await inBatches(orderEvents(sized(bench.counts.batches)), 100, publisher), consume }
}
