// Consuming a backlog: with an empty handler, with a slow one, while publishing, and with growing parameters.
import { setTimeout as wait } from 'node:timers/promises'
import { sized } from '../arguments.ts'
import type { BrokerBench, Consumption, Scene, Side } from '../broker-bench.ts'
import { compare, type Step } from '../harness.ts'
import { AGGREGATES, orderEvents } from '../order.ts'
import { Arrivals } from './arrivals.ts'
import { inBatches } from './publish.ts'

export interface ConsumeWork extends Omit<Consumption, 'handlers'> {
  readonly count: number
  readonly aggregates?: number
  /** Number of consumers in the group. Default 1. */
  readonly consumers?: number
  /** Called for each event before it is counted. */
  readonly before?: (total: number) => void | Promise<void>
  /** Number of additional empty handlers. */
  readonly idleHandlers?: number
}

export function consumeSteps(bench: BrokerBench): readonly Step[] {
  const count = sized(bench.counts.consume)
  return [
    ...bench.consumptions.map(({ label, ...how }) =>
      consumeStep(bench, `consume with acknowledgment${label}`, { count, ...how }),
    ),
    ...[1, 5].map((delayMs) => slowStep(bench, delayMs)),
    compare({
      work: 'publish in batches of 1,000 and consume concurrently',
      unit: 'events/s',
      ours: () => bothWays(bench, bench.ours),
      raw: () => bothWays(bench, bench.raw),
    }),
  ]
}

/** How the rate changes with the number of handlers, aggregates, consumers and dead letters. */
export function growthSteps(bench: BrokerBench): readonly Step[] {
  const count = sized(bench.counts.growth)
  return [
    ...[1, 10, 100].map((handlers) =>
      consumeStep(bench, `consume, ${counted(handlers, 'handler')}`, { count, idleHandlers: handlers - 1 }),
    ),
    ...[1, 100, 10_000].map((aggregates) =>
      consumeStep(bench, `consume, ${counted(aggregates, 'aggregate')}`, {
        // Enough for each aggregate to have an event.
        count: Math.max(count, sized(aggregates)),
        aggregates,
      }),
    ),
    ...[1, 2, 4].map((consumers) =>
      consumeStep(bench, `consume, ${counted(consumers, 'consumer')}`, {
        count: sized(bench.counts.consume),
        consumers,
      }),
    ),
    ...[0, 1, 10].map((percent) =>
      consumeStep(bench, `consume, ${percent} % dead-lettered`, {
        count,
        options: { maxRetries: 0 },
        before: failing(percent),
      }),
    ),
  ]
}

function consumeStep(bench: BrokerBench, work: string, how: ConsumeWork): Step {
  return compare({
    work,
    unit: 'events/s',
    ours: () => consuming(bench, bench.ours, how),
    raw: () => consuming(bench, bench.raw, how),
  })
}

/** 160 aggregates, so that the lanes of the bare client are evenly loaded. */
function slowStep(bench: BrokerBench, delayMs: number): Step {
  const before = async () => {
    await wait(delayMs)
  }
  const count = sized(delayMs === 1 ? 8000 : 2000)
  const how = { count, aggregates: 160, lanes: 16, before }
  return consumeStep(bench, `consume, async handler of ${delayMs} ms, 16 lanes`, how)
}

function counted(count: number, noun: string): string {
  return `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`
}

/** Events per second, from the first event to the last. */
export async function consuming(bench: BrokerBench, side: Side, how: ConsumeWork): Promise<number> {
  const { count, aggregates = AGGREGATES, consumers = 1 } = how
  await using scene = await bench.backlog(count, aggregates)
  await using stack = new AsyncDisposableStack()
  const arrivals = new Arrivals(count)
  const start = () => side.consume(scene, consumptionOf(how, arrivals))
  const started = Promise.all(Array.from({ length: consumers }, async () => stack.use(await start())))
  const figure = await arrivals.whenAll
  await started
  return figure
}

function consumptionOf(
  { before, idleHandlers = 0, count: _, aggregates: __, consumers: ___, ...rest }: ConsumeWork,
  { note }: Arrivals,
): Consumption {
  const idle = Array.from({ length: idleHandlers }, () => () => undefined)
  if (before === undefined) return { ...rest, handlers: [note, ...idle] }
  const handler: Consumption['handlers'][number] = (event) => {
    // A failed event counts as handled too.
    try {
      const waiting = before(event.total)
      if (waiting === undefined) return note(event)
      return waiting.then(() => note(event))
    } catch (error) {
      note(event)
      throw error
    }
  }
  return { ...rest, handlers: [handler, ...idle] }
}

function failing(percent: number): (total: number) => void {
  return (total) => {
    if (total % 100 < percent) throw new Error('this event fails deliberately')
  }
}

async function bothWays(bench: BrokerBench, side: Side): Promise<number> {
  const events = orderEvents(sized(bench.counts.batches))
  await using scene = await bench.scene()
  await using publisher = await side.publisher(scene)
  const arrivals = new Arrivals(events.length)
  await using _ = await consumeAll(side, scene, arrivals)
  await inBatches(events, 1000, publisher)
  return await arrivals.whenAll
}

function consumeAll(side: Side, scene: Scene, { note }: Arrivals): Promise<AsyncDisposable> {
  return side.consume(scene, { handlers: [note] })
}
