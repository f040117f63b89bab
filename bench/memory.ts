// npm run bench:memory [-- --json]: dispatch in memory, beside bare loops and emitters.
import { EventEmitter } from 'node:events'
import Emittery from 'emittery'
import { EventEmitter as EventEmitter3 } from 'eventemitter3'
import { defineEvent, InMemoryEventBus } from 'eventspine'
import { z } from 'zod'
import { type BenchWork, cost, measure, rate, report } from './harness.ts'

const schema = z.object({ customerId: z.string(), total: z.number() })
class OrderCreated extends defineEvent({ type: 'OrderCreated', aggregateType: 'Order', schema }) {}

const payload = { aggregateId: 'Order-123', customerId: 'c-1', total: 42 }
const batch = Array.from({ length: 1000 }, () => new OrderCreated(payload))
const [single] = [new OrderCreated(payload)]

/** Keeps the work from being optimized away. */
export let sum = 0
const syncHandler = () => (event: OrderCreated) => {
  sum += event.total
}
const asyncHandler = () => async (event: OrderCreated) => {
  sum += event.total
}

type Handler = (event: OrderCreated) => void | Promise<void>

function busWith(handlers: readonly Handler[]): InMemoryEventBus {
  const bus = new InMemoryEventBus()
  for (const handler of handlers) bus.subscribe(OrderCreated, handler)
  return bus
}

const make = (count: number, handler: () => Handler) => Array.from({ length: count }, handler)

/** Publishes the batch so often, or the single event as often as there are events in it. */
function publishing(handlers: readonly Handler[], isBatch: boolean, rounds: number) {
  const bus = busWith(handlers)
  return () =>
    rate(rounds * batch.length, async () => {
      for (let round = 0; round < rounds; round += 1) {
        if (isBatch) await bus.publish(batch)
        else for (let n = 0; n < batch.length; n += 1) await bus.publish([single])
      }
    })
}

function looping(rounds: number, each: (event: OrderCreated) => unknown, isAwaited: boolean) {
  return () =>
    rate(rounds * batch.length, async () => {
      for (let round = 0; round < rounds; round += 1) {
        for (const event of batch) {
          if (isAwaited) await each(event)
          else each(event)
        }
      }
    })
}

function bareLoop(handlers: readonly Handler[], rounds: number) {
  return () =>
    rate(rounds * batch.length, async () => {
      for (let round = 0; round < rounds; round += 1) {
        for (const event of batch) for (const handler of handlers) await handler(event)
      }
    })
}

function emitters(count: number, handler: () => Handler) {
  const [own, third, emittery] = [new EventEmitter(), new EventEmitter3(), new Emittery()]
  for (const listener of make(count, handler)) {
    own.on('OrderCreated', listener)
    third.on('OrderCreated', listener)
    emittery.on('OrderCreated', (event) => listener('data' in event ? event.data : event))
  }
  own.setMaxListeners(100)
  return { own, third, emittery }
}

const works: BenchWork[] = []
for (const count of [1, 10]) {
  const label = count === 1 ? '1 handler' : '10 handlers'
  for (const [kind, handler] of [
    ['sync', syncHandler],
    ['async', asyncHandler],
  ] as const) {
    const rounds = kind === 'sync' && count === 1 ? 300 : 30
    const handlers = make(count, handler)
    const bare = bareLoop(handlers, rounds)
    const { own, third, emittery } = emitters(count, handler)
    const batches = publishing(handlers, true, rounds)
    works.push(
      {
        work: `${label}, ${kind}, batches of 1,000, raw: awaited loop`,
        unit: 'events/s',
        ours: batches,
        raw: bare,
      },
      {
        work: `${label}, ${kind}, single, raw: awaited loop`,
        unit: 'events/s',
        ours: publishing(handlers, false, rounds),
        raw: bare,
      },
      {
        work: `${label}, ${kind}, batches, raw: emittery`,
        unit: 'events/s',
        ours: batches,
        raw: looping(5, (event) => emittery.emit('OrderCreated', event), true),
      },
    )
    if (kind === 'sync') {
      works.push(
        {
          work: `${label}, sync, batches, raw: EventEmitter`,
          unit: 'events/s',
          ours: batches,
          raw: looping(rounds, (event) => own.emit('OrderCreated', event), false),
        },
        {
          work: `${label}, sync, batches, raw: eventemitter3`,
          unit: 'events/s',
          ours: batches,
          raw: looping(rounds, (event) => third.emit('OrderCreated', event), false),
        },
      )
    }
  }
}
works.push({
  work: 'building and validating an event, raw: the zod parse of its payload',
  unit: 'ns',
  ours: () =>
    cost(100_000, async () => {
      for (let n = 0; n < 100_000; n += 1) sum += new OrderCreated(payload).total
    }),
  raw: () =>
    cost(100_000, async () => {
      for (let n = 0; n < 100_000; n += 1) sum += schema.parse(payload).total
    }),
})

report(await measure(works, { bus: 'memory' }))
