// npm run bench:redis|rabbitmq|kafka -- --large: whether the cost of an event stays the same with many aggregates, event
// types or groups. Both sides are the bus: the first has few of them.
import { defineEvent } from 'eventspine'
import { sized } from '../arguments.ts'
import type { BrokerBench, Scene } from '../broker-bench.ts'
import { compare, type Step } from '../harness.ts'
import { OrderCreated, orderEvents, orderSchema } from '../order.ts'
import { Arrivals } from './arrivals.ts'
import { consuming } from './consume.ts'

/** Few events at a time, as a burst of 1,000 types would be measured otherwise. */
const BATCH = 1000
const ROUNDS = 3

export function curveSteps(bench: BrokerBench): readonly Step[] {
  const { consume } = bench.counts
  return [
    ...[1000, 100_000, 1_000_000].map((aggregates) => aggregatesStep(bench, aggregates)),
    ...[10, 100, 1000].map((types) =>
      curve(counted(types, 'event type'), counted(1, 'event type'), {
        ours: () => consumingTypes(bench, sized(consume), types),
        raw: () => consumingTypes(bench, sized(consume), 1),
      }),
    ),
    ...[10, 100].map((groups) =>
      curve(counted(groups, 'group'), counted(1, 'group'), {
        ours: () => consumingInGroups(bench, sized(consume), groups),
        raw: () => consumingInGroups(bench, sized(consume), 1),
      }),
    ),
  ]
}

/** As many events as aggregates, so that each aggregate is new. */
function aggregatesStep(bench: BrokerBench, aggregates: number): Step {
  const count = Math.max(sized(bench.counts.consume), sized(aggregates))
  return curve(counted(aggregates, 'aggregate'), counted(10, 'aggregate'), {
    ours: () => consuming(bench, bench.ours, { count, aggregates: sized(aggregates) }),
    raw: () => consuming(bench, bench.ours, { count, aggregates: 10 }),
  })
}

interface Sides {
  readonly ours: () => Promise<number>
  readonly raw: () => Promise<number>
}

function curve(many: string, few: string, sides: Sides): Step {
  return compare({ work: `consume, ${many}`, peer: few, unit: 'events/s', rounds: ROUNDS, ...sides })
}

function counted(count: number, noun: string): string {
  return `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`
}

/** Events per second of one handler of `types` event classes, from the first event to the last. */
async function consumingTypes(bench: BrokerBench, count: number, types: number): Promise<number> {
  const classes = Array.from({ length: types }, (_, index) => orderClass(index))
  const events = orderEvents(count).map(({ aggregateId, total }, index) => {
    const Class = classes[index % types] ?? OrderCreated
    return new Class({ aggregateId, customerId: 'c-1', total })
  })
  const arrivals = new Arrivals(count)
  await using scene = await bench.scene()
  await using publisher = await bench.ours.publisher(scene)
  for (let first = 0; first < count; first += BATCH)
    await publisher.publish(events.slice(first, first + BATCH))
  await using _ = await bench.ours.consume(scene, { handlers: [arrivals.note], eventClasses: classes })
  return await arrivals.whenAll
}

/** Classes with the same payload and other names. */
function orderClass(index: number): typeof OrderCreated {
  return defineEvent({ type: `OrderCreated${index}`, aggregateType: 'Order', schema: orderSchema })
}

/** Deliveries per second to all groups of one process, which get the same events. */
async function consumingInGroups(bench: BrokerBench, count: number, groups: number): Promise<number> {
  const each = Math.ceil(count / groups)
  const arrivals = Array.from({ length: groups }, () => new Arrivals(each))
  await using scene = await bench.scene()
  await using stack = new AsyncDisposableStack()
  for (const [index, { note }] of arrivals.entries()) {
    const own: Scene = { ...scene, group: index === 0 ? scene.group : `${scene.group}-${index}` }
    stack.use(await bench.ours.consume(own, { handlers: [note] }))
  }
  const publisher = stack.use(await bench.ours.publisher(scene))
  const events = orderEvents(each)
  const start = performance.now()
  for (let first = 0; first < each; first += BATCH)
    await publisher.publish(events.slice(first, first + BATCH))
  await Promise.all(arrivals.map(({ whenAll }) => whenAll))
  return ((each * groups) / (performance.now() - start)) * 1000
}
