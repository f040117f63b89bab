// A program that the tests start as a process: node probe-program.js <URL of the module with `create`> <scope> <mode>.
import { createInterface } from 'node:readline'
import { BrokerEventBus, type EventBus, type Logger } from '../../index.ts'
import type { CreateBus } from './bus-under-test.ts'
import { Noted, series } from './events.ts'
import { SHARED } from './ordered-workers.ts'
import { Before, During, Later } from './rolled-events.ts'

const [, , moduleUrl = '', scope = '', mode = ''] = process.argv
const quiet = () => undefined
// What a worker logs explains why it does not take over.
const say =
  mode === 'share' ? (message: string) => console.error(`log ${performance.now()} ${message}`) : quiet
const logger: Logger = { debug: quiet, info: say, warn: say, error: say }

// By the contract of the suite, the module exports `create`.
const { create } = (await import(moduleUrl)) as { readonly create: CreateBus }
const group = mode === 'share' ? SHARED : { consumerGroup: 'main', concurrency: 20, presenceIntervalMs: 500 }
const bus = await create({ scope, logger, ...group })

/** Publishes, consumes, retries, publishes in the background and shuts down. The process must exit then. */
async function comeAndGo(bus: EventBus): Promise<void> {
  const done = Promise.withResolvers<void>()
  const handled = new Set<number>()
  bus.subscribe(Noted, ({ n }, { attempt }) => {
    if (n === 1 && attempt === 1 && 'deadLetters' in bus) throw new Error('planned')
    if (handled.add(n).size === 5) done.resolve()
  })
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  const [first, ...rest] = series('Order-1', 5)
  if (first !== undefined) await bus.publish([first])
  await bus.publish(rest, { background: true })
  await done.promise
  await bus.shutdown()
  console.log('shut down')
}

/** Publishes, and never consumes. */
async function publishOnly(bus: EventBus): Promise<void> {
  await bus.publish(series('Order-1', 5)).catch(() => undefined)
  await bus.shutdown()
  console.log('shut down')
}

/** Consumes, prints each event that it starts to handle and how many it holds, and hangs in each. */
async function hang(bus: EventBus): Promise<void> {
  bus.subscribe(Noted, ({ n }) => {
    console.log(`started ${n}`)
    return new Promise(() => undefined)
  })
  setInterval(() => console.log(`holds ${Reflect.get(bus.getStats(), 'inFlight')}.`), 10)
  await bus.startConsuming()
}

/** Consumes, and prints each event that it starts to handle, with the time by a clock that all processes share. */
async function share(bus: EventBus): Promise<void> {
  bus.subscribe(Noted, ({ aggregateId, n }) =>
    console.log(`started ${aggregateId} ${n} ${process.hrtime.bigint()}`),
  )
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  console.log('consuming')
}

/** Replays all dead letters one by one, and prints how many it has replayed. */
async function replay(bus: EventBus): Promise<void> {
  if (!(bus instanceof BrokerEventBus)) throw new TypeError('Only a broker bus has dead letters.')
  await bus.deadLetters.replayAll(
    {},
    { batchSize: 1, onProgress: ({ changed }) => console.log(`replayed ${changed}.`) },
  )
  await bus.shutdown()
}

const before = (n: number) => new Before({ aggregateId: `Order-${n % 3}`, n })
const during = (count: number) => new During({ aggregateId: `Order-${count % 3}`, count })
const later = (count: number) => new Later({ aggregateId: `Order-${count % 3}`, count })

/** The id of an event, and its payload as this release reads it. */
const lineOf = (event: Before | During | Later) =>
  `${event.eventId} ${event instanceof Before ? event.n : event.count}`

/**
 * Consumes with the code of one release, and prints the events that it has handled. Publishes as many as a line of its input
 * says, and ends with its input.
 */
async function release(
  bus: EventBus,
  eventClass: typeof Before | typeof During | typeof Later,
  create: (n: number) => Before | During | Later,
): Promise<void> {
  bus.subscribe<typeof eventClass>(eventClass, (event) => console.log(`handled ${lineOf(event)}`))
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  console.log('consuming')
  for await (const line of createInterface(process.stdin)) {
    const events = Array.from({ length: Number(line.split(' ')[1]) }, (_, n) => create(n))
    await bus.publish(events)
    for (const event of events) console.log(`published ${lineOf(event)}`)
  }
  await bus.shutdown()
}

const MODES: Readonly<Record<string, (bus: EventBus) => Promise<void>>> = {
  ...{ comeAndGo, publishOnly, hang, share, replay },
  before: (it) => release(it, Before, before),
  during: (it) => release(it, During, during),
  later: (it) => release(it, Later, later),
}
await MODES[mode]?.(bus)
