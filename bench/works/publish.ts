// Publishing: one at a time, by many callers, and in batches.
import { sized } from '../arguments.ts'
import type { BrokerBench, Publisher, Side } from '../broker-bench.ts'
import { compare, rate, type Step } from '../harness.ts'
import { type OrderCreated, orderEvents } from '../order.ts'

export function publishSteps(bench: BrokerBench): readonly Step[] {
  const many = orderEvents(sized(bench.counts.batches))
  const few = many.slice(0, sized(bench.counts.singles))
  const step = (work: string, body: Publishing, compression?: 'gzip') =>
    compare({
      work: compression === undefined ? work : `${work}, ${compression}`,
      unit: 'events/s',
      ours: () => publishing(bench, bench.ours, body, compression),
      raw: () => publishing(bench, bench.raw, body, compression),
    })
  return [
    step('publish one at a time', (publisher) => oneByOne(few, publisher)),
    step('publish, 100 in flight', (publisher) => crowd(many, publisher)),
    step('publish in batches of 100', (publisher) => inBatches(many, 100, publisher)),
    step('publish in batches of 1,000', (publisher) => inBatches(many, 1000, publisher)),
    ...bench.compressions.map((compression) =>
      step('publish in batches of 1,000', (publisher) => inBatches(many, 1000, publisher), compression),
    ),
  ]
}

type Publishing = (publisher: Publisher) => Promise<number>

async function publishing(bench: BrokerBench, side: Side, body: Publishing, compression?: 'gzip') {
  await using scene = await bench.scene()
  await using publisher = await side.publisher(scene, compression)
  return await body(publisher)
}

/** Events per second, awaiting each batch. */
export function inBatches(
  events: readonly OrderCreated[],
  size: number,
  publisher: Pick<Publisher, 'publish'>,
): Promise<number> {
  return rate(events.length, async () => {
    for (let start = 0; start < events.length; start += size) {
      await publisher.publish(events.slice(start, start + size))
    }
  })
}

function oneByOne(events: readonly OrderCreated[], publisher: Publisher): Promise<number> {
  return rate(events.length, async () => {
    for (const event of events) await publisher.publish([event])
  })
}

/** 100 callers that each publish one at a time. */
export function crowd(
  events: readonly OrderCreated[],
  publisher: Pick<Publisher, 'publish'>,
): Promise<number> {
  const queue = events.values()
  return rate(events.length, () =>
    Promise.all(
      Array.from({ length: 100 }, async () => {
        for (const event of queue) await publisher.publish([event])
      }),
    ),
  )
}
