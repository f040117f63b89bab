import type { DomainEvent } from '../../events/index.ts'

/** Returns pseudo-random numbers from 0 up to, but not including, 1: the generator mulberry32. */
function randomFrom(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/**
 * The events in another order, in which those of one aggregate keep theirs, as on a broker.
 * @param seed - the same seed gives the same order.
 */
export function shuffled(events: readonly DomainEvent[], seed: number): readonly DomainEvent[] {
  const random = randomFrom(seed)
  const queues = [...Map.groupBy(events, ({ aggregateId }) => aggregateId).values()].map((queue) => [
    ...queue,
  ])
  const result: DomainEvent[] = []
  while (result.length < events.length) {
    const left = queues.filter((queue) => queue.length > 0)
    const next = left[Math.floor(random() * left.length)]?.shift()
    if (next !== undefined) result.push(next)
  }
  return result
}
