// The same work for every broker: events of an order, published and consumed in the ways that the benches compare.
import { defineEvent } from 'eventspine'
import { z } from 'zod'
import { median, rate } from './harness.ts'

/** An event of about 370 bytes. */
export class OrderCreated extends defineEvent({
  type: 'OrderCreated',
  aggregateType: 'Order',
  schema: z.object({ customerId: z.string(), total: z.number() }),
}) {}

export function orderEvents(count: number): readonly OrderCreated[] {
  return Array.from(
    { length: count },
    (_, n) => new OrderCreated({ aggregateId: `Order-${n % 100}`, customerId: 'c-1', total: n }),
  )
}

/** Events per second, each batch awaited. */
export function inBatches(
  events: readonly OrderCreated[],
  size: number,
  publish: (batch: readonly OrderCreated[]) => Promise<unknown>,
): Promise<number> {
  return rate(events.length, async () => {
    for (let start = 0; start < events.length; start += size) await publish(events.slice(start, start + size))
  })
}

/** Events per second, one at a time. */
export function oneByOne(
  events: readonly OrderCreated[],
  publish: (event: OrderCreated) => Promise<unknown>,
): Promise<number> {
  return rate(events.length, async () => {
    for (const event of events) await publish(event)
  })
}

/** Events per second of 100 callers that each publish one at a time. */
export function crowd(
  events: readonly OrderCreated[],
  publish: (event: OrderCreated) => Promise<unknown>,
): Promise<number> {
  const queue = events.values()
  return rate(events.length, () =>
    Promise.all(
      Array.from({ length: 100 }, async () => {
        for (const event of queue) await publish(event)
      }),
    ),
  )
}

/** Events per second from the first call to the last: what comes before is declaring and joining, paid once. */
export function stopwatch(count: number) {
  const { promise, resolve } = Promise.withResolvers<number>()
  let seen = 0
  let start = 0
  const call = () => {
    seen += 1
    if (seen === 1) start = performance.now()
    if (seen === count) resolve((count / (performance.now() - start)) * 1000)
  }
  return { measured: promise, call }
}

/** What to do when the next event arrives. */
export interface Arrivals {
  next: () => void
}

export const pause = () => new Promise((resolve) => setTimeout(resolve, 5))

/** Median of the milliseconds from publish to handler, about 100 events a second. */
export async function latencies(
  events: readonly OrderCreated[],
  publish: (event: OrderCreated) => Promise<unknown>,
  arrivals: Arrivals,
): Promise<number> {
  const times: number[] = []
  for (const event of events) {
    const arrived = Promise.withResolvers<void>()
    const start = performance.now()
    arrivals.next = () => {
      times.push(performance.now() - start)
      arrived.resolve()
    }
    await publish(event)
    await arrived.promise
    await pause()
  }
  return median(times)
}
