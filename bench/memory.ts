// npm run bench:memory [-- --json]: compares dispatch in memory with bare loops and emitters.
import { EventEmitter } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import Emittery from 'emittery'
import { EventEmitter as EventEmitter3 } from 'eventemitter3'
import { InMemoryEventBus } from 'eventspine'
import { isQuick, sized } from './arguments.ts'
import { type Comparison, compare, cost, rate, runSteps, type Step } from './harness.ts'
import { versionOf } from './machine.ts'
import { OrderCreated, orderEvents, orderSchema } from './order.ts'
import { report } from './results.ts'
import { latencyStep } from './works/latency.ts'
import { memorySides } from './works/memory-sides.ts'
import { memoryStep } from './works/million.ts'
import { crowd, inBatches } from './works/publish.ts'

const payload = { aggregateId: 'Order-123', customerId: 'c-1', total: 42 }
const batch = orderEvents(1000)

/** Prevents the compiler from optimizing the work away. */
export let sum = 0
const syncHandler = () => (event: OrderCreated) => {
  sum += event.total
}
const asyncHandler = () => async (event: OrderCreated) => {
  sum += event.total
}

type Handler = (event: OrderCreated) => void | Promise<void>
type Publishing = (bus: InMemoryEventBus) => Promise<unknown>

const kinds = { sync: syncHandler, async: asyncHandler }

const make = (count: number, handler: () => Handler) => Array.from({ length: count }, handler)

const inThousands: Publishing = (bus) => bus.publish(batch)
const inHundreds: Publishing = (bus) => inBatches(batch, 100, bus)
const oneByOne: Publishing = async (bus) => {
  for (const event of batch) await bus.publish([event])
}
const byHundred: Publishing = (bus) => crowd(batch, bus)

/** Events per second if `body`, which publishes the whole batch, runs `times` times. */
function repeated(times: number, body: () => unknown) {
  const rounds = isQuick ? 1 : times
  return () =>
    rate(rounds * batch.length, async () => {
      for (let round = 0; round < rounds; round += 1) await body()
    })
}

function busWith(handlers: readonly Handler[], publishing: Publishing) {
  const bus = new InMemoryEventBus()
  for (const handler of handlers) bus.subscribe(OrderCreated, handler)
  return () => publishing(bus)
}

const awaitedLoop = (handlers: readonly Handler[]) => async () => {
  for (const event of batch) for (const handler of handlers) await handler(event)
}

/** 100 concurrent loops that share the events, like 100 callers. */
const hundredLoops = (handlers: readonly Handler[]) => () =>
  crowd(batch, {
    publish: async (events) => {
      for (const event of events) for (const handler of handlers) await handler(event)
    },
  })

function versusLoop(work: string, kind: keyof typeof kinds, count: number, publishing: Publishing): Step {
  const handlers = make(count, kinds[kind])
  const times = Math.ceil((kind === 'sync' ? 600 : 200) / count)
  const bare = publishing === byHundred ? hundredLoops(handlers) : awaitedLoop(handlers)
  return compare({
    work: `${count} ${kind} ${count === 1 ? 'handler' : 'handlers'}, ${work}`,
    unit: 'events/s',
    ours: repeated(times, busWith(handlers, publishing)),
    raw: repeated(times, bare),
  })
}

/** Emits the thousand events through an emitter. */
function emitters(count: number, handler: () => Handler) {
  const [own, third, emittery] = [new EventEmitter(), new EventEmitter3(), new Emittery()]
  own.setMaxListeners(100)
  for (const listener of make(count, handler)) {
    own.on('OrderCreated', listener)
    third.on('OrderCreated', listener)
    emittery.on('OrderCreated', (event) => listener('data' in event ? event.data : event))
  }
  return {
    EventEmitter: () => {
      for (const event of batch) own.emit('OrderCreated', event)
    },
    eventemitter3: () => {
      for (const event of batch) third.emit('OrderCreated', event)
    },
    emittery: async () => {
      for (const event of batch) await emittery.emit('OrderCreated', event)
    },
  }
}

function versusEmitter(
  peer: keyof ReturnType<typeof emitters>,
  kind: keyof typeof kinds,
  count: number,
): Step {
  const emit = emitters(count, kinds[kind])[peer]
  const times = Math.ceil((peer === 'emittery' ? 60 : 1000) / count)
  return compare({
    work: `${count} ${kind} ${count === 1 ? 'handler' : 'handlers'}, batches of 1,000`,
    unit: 'events/s',
    peer,
    ours: repeated(Math.ceil(times / 2), busWith(make(count, kinds[kind]), inThousands)),
    raw: repeated(times, emit),
  })
}

/** Compares 16 callers with 16 loops, for a handler that takes this many milliseconds. */
function waiting(delayMs: number): Step {
  const events = orderEvents(sized(delayMs === 1 ? 8000 : 2000))
  const handler = async () => {
    await wait(delayMs)
  }
  const bus = new InMemoryEventBus()
  bus.subscribe(OrderCreated, handler)
  const byLanes = (each: (event: OrderCreated) => Promise<unknown>) => () => {
    const queue = events.values()
    const lane = async () => {
      for (const event of queue) await each(event)
    }
    return rate(events.length, () => Promise.all(Array.from({ length: 16 }, lane)))
  }
  return compare({
    work: `async handler of ${delayMs} ms, 16 callers`,
    unit: 'events/s',
    ours: byLanes((event) => bus.publish([event])),
    raw: byLanes(handler),
  })
}

function repeatedCost(body: () => { readonly total: number }): Comparison['ours'] {
  const count = sized(100_000)
  return () =>
    cost(count, async () => {
      for (let n = 0; n < count; n += 1) sum += body().total
    })
}

/** Milliseconds, including the creation of the bus. */
async function starting(body: (event: OrderCreated) => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await body(new OrderCreated(payload))
  return performance.now() - start
}

const steps: readonly Step[] = [
  versusLoop('one at a time', 'sync', 1, oneByOne),
  versusLoop('one at a time', 'async', 1, oneByOne),
  versusLoop('100 in flight', 'async', 1, byHundred),
  versusLoop('batches of 100', 'sync', 1, inHundreds),
  ...[1, 10, 100].flatMap((count) => [
    versusLoop('batches of 1,000', 'sync', count, inThousands),
    versusLoop('batches of 1,000', 'async', count, inThousands),
  ]),
  ...[1, 10].flatMap((count) => [
    versusEmitter('EventEmitter', 'sync', count),
    versusEmitter('eventemitter3', 'sync', count),
    versusEmitter('emittery', 'sync', count),
    versusEmitter('emittery', 'async', count),
  ]),
  waiting(1),
  waiting(5),
  latencyStep(memorySides),
  compare({
    work: 'start to the first handled event',
    unit: 'ms',
    ours: () => starting(async (event) => await busWith([syncHandler()], (bus) => bus.publish([event]))()),
    raw: () => starting(async (event) => await syncHandler()(event)),
  }),
  compare({
    work: 'building and validating an event, vs the zod parse of its payload',
    unit: 'ns',
    ours: repeatedCost(() => new OrderCreated(payload)),
    raw: repeatedCost(() => orderSchema.parse(payload)),
  }),
  memoryStep(),
]

report('memory', await runSteps('memory', steps), {
  eventemitter3: versionOf('eventemitter3'),
  emittery: versionOf('emittery'),
})
