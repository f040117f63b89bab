// The in-memory bus and a bare loop as two sides of a broker. Published events are handled at once.
import { randomUUID } from 'node:crypto'
import { InMemoryEventBus } from 'eventspine'
import type { BrokerBench, OrderHandler, Side } from '../broker-bench.ts'
import { OrderCreated } from '../order.ts'

const buses = new Map<string, InMemoryEventBus>()
const loops = new Map<string, OrderHandler[]>()

const nothing = { [Symbol.asyncDispose]: () => Promise.resolve() }

const ours: Side = {
  publisher: ({ name }) => Promise.resolve(busOf(name)),
  consume({ name }, { handlers }) {
    for (const handler of handlers) busOf(name).subscribe(OrderCreated, handler)
    return Promise.resolve(nothing)
  },
}

const raw: Side = {
  publisher: ({ name }) =>
    Promise.resolve({
      ...nothing,
      async publish(events) {
        for (const event of events) for (const handler of loops.get(name) ?? []) await handler(event)
      },
    }),
  consume({ name }, { handlers }) {
    loops.set(name, [...handlers])
    return Promise.resolve(nothing)
  },
}

export const memorySides: Pick<BrokerBench, 'ours' | 'raw' | 'scene'> = {
  ours,
  raw,
  scene: () => Promise.resolve({ ...nothing, name: randomUUID(), group: '' }),
}

function busOf(name: string): InMemoryEventBus {
  const bus = buses.get(name) ?? new InMemoryEventBus()
  buses.set(name, bus)
  return bus
}
