// Started by million.ts in a separate process: events through the in-memory bus.
import { InMemoryEventBus } from 'eventspine'
import { OrderCreated, orderEvents } from '../order.ts'
import { MemorySamples } from './memory-samples.ts'

// Written by million.ts.
const { count } = JSON.parse(process.argv[2] ?? '') as { readonly count: number }
const samples = new MemorySamples(count)
const bus = new InMemoryEventBus()
bus.subscribe(OrderCreated, samples.note)
for (let first = 0; first < count; first += 1000) {
  await bus.publish(orderEvents(Math.min(1000, count - first), 100, first))
}
console.log(JSON.stringify(samples.peaks))
