// One of the processes between an order and its effects, which kills itself: node program.ts '{...}'; see `ProgramOptions`.
// SIGTERM ends it.
import { writeSync } from 'node:fs'
import { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { PASSES_ON } from '../../../src/events/passed-on-event.ts'
import {
  type DomainEvent,
  defineEvent,
  type HandlerContext,
  handlerFor,
  type InboxContext,
  type StoreTransaction,
  SubscriptionManager,
} from '../../../src/index.ts'
import type { PostgresClient } from '../../../src/postgres/index.ts'
import type { SqliteConnection } from '../../../src/sqlite/index.ts'
import { Random } from '../../../src/verify/random.ts'
import { type StoresPlace, storesOf } from '../../support/stores-of.ts'
import { createTortureBus, type TortureBusOptions } from '../torture-bus.ts'
import { CUSTOMERS, isCanceled, PHASES, type Phase, type Role, tableName } from './judge.ts'

/** The options that the run passes to a process. */
export interface ProgramOptions {
  readonly role: Role
  readonly place: StoresPlace
  readonly bus: TortureBusOptions
  /** The producer places the orders with these numbers, the last one excluded. */
  readonly orders: readonly [from: number, to: number]
  readonly seed: number
  /** The process kills itself when it reaches a phase for the nth time, with n up to this; never if it is 0. */
  readonly killWithin: number
  readonly fault: EffectFault | undefined
  /** Longest life of a process that is killed, in milliseconds. It starts when the process is ready. */
  readonly longestLifeMs: number
}

/** A deliberate fault, which the judge must find. */
export type EffectFault = 'twoTransactions' | 'checkpointFirst'

/** A process is killed at most this long after the beginning of an operation, in milliseconds. */
const LONGEST_OPERATION_MS = 3

class Ordered extends defineEvent<{ readonly n: number }>()({ type: 'Ordered', aggregateType: 'Customer' }) {}

// The run wrote the argument, so it has this type.
const options = JSON.parse(process.argv[2] ?? '{}') as ProgramOptions
const { role, fault, place } = options
const random = new Random(options.seed)
const stopping = new AbortController()
process.stdin.on('end', () => process.exit(1)).resume()
if (process.stdin instanceof Socket) process.stdin.unref()
process.once('SIGTERM', () => stopping.abort())
const stopped = new Promise((resolve) => stopping.signal.addEventListener('abort', resolve, { once: true }))
const stores = storesOf(place, [Ordered])
/** The phase that ends this life, and how often the process reaches it before. Undefined for a life that is not ended. */
const chosen = options.killWithin > 0 && fault === undefined ? random.pick<Phase>(PHASES[role]) : undefined
let occurrences = random.integer(1, Math.max(1, options.killWithin))

/** Reports the phase on the fourth stream, and ends the process. */
function die(phase: string): void {
  writeSync(3, phase)
  process.kill(process.pid, 'SIGKILL')
}

/** @returns true if the life ends at this phase. */
function isEnd(phase: Phase): boolean {
  if (phase !== chosen) return false
  occurrences -= 1
  return occurrences === 0
}

/** A point between two operations. */
function point(phase: Phase): void {
  if (isEnd(phase)) die(phase)
}

/** The beginning of an operation, in which the process may end. @returns a function to call when the operation is over. */
function beginning(phase: Phase): () => void {
  let isOver = false
  if (isEnd(phase)) {
    const end = () => die(isOver ? phase.replace('in', 'just after') : phase)
    const delayMs = random.integer(0, LONGEST_OPERATION_MS)
    // The first bytes have been sent then, and no answer has been read.
    if (delayMs === 0) setImmediate(end)
    else setTimeout(end, delayMs)
  }
  return () => {
    isOver = true
  }
}

/** The point at which a process with a fault ends, so that the fault certainly shows. */
function faultyPoint(): void {
  if (options.killWithin > 0) die('at the fault')
}

/** Ends the process if it does not reach the chosen phase, because there is nothing to do. */
function dieSometime(): void {
  const { longestLifeMs } = options
  if (chosen === undefined) return
  setTimeout(() => die('at another time'), random.integer(Math.floor(longestLifeMs / 2), longestLifeMs))
}

async function sql({ client }: StoreTransaction, text: string): Promise<void> {
  // The client of the stores that were opened above.
  if ('file' in place) (client as SqliteConnection).exec(text)
  else await (client as PostgresClient).query({ text })
}

const insert = (tx: StoreTransaction, table: 'orders' | 'effects' | 'projected', n: number) =>
  sql(tx, `insert into ${tableName(place, table)} (n) values (${n})`)

/** Some orders are canceled after everything is written. */
async function placeOrder(n: number): Promise<void> {
  const aggregateId = `customer-${n % CUSTOMERS}`
  let committed: (() => void) | undefined
  try {
    await stores.transaction(async (tx) => {
      if (!(await tx.inbox.add('placed', String(n)))) return
      const event = new Ordered({ aggregateId, n })
      await insert(tx, 'orders', n)
      point('before the commit')
      await tx.outbox.add([event])
      const { aggregateType } = event
      await tx.events.appendEvents({ aggregateId, aggregateType, events: [event], expectedVersion: 'any' })
      if (isCanceled(n)) throw new Error('canceled')
      committed = beginning('in the commit')
    })
  } catch (thrown) {
    if (!isCanceled(n)) throw thrown
  }
  committed?.()
  if (committed !== undefined) point('after the commit')
}

async function produce(): Promise<void> {
  const [from, to] = options.orders
  for (let n = from; n < to; n += 1) {
    await placeOrder(n)
    // A process that writes without a pause to a SQLite file keeps the others from writing.
    await delay(random.integer(0, 3))
  }
}

async function relay(): Promise<void> {
  await using bus = createTortureBus(options.bus)
  await bus.connect()
  await using manager = new SubscriptionManager({ eventStore: stores.outbox, leaseTtlMs: 1000 })
  let published = Promise.resolve()
  const target = {
    [PASSES_ON]: bus[PASSES_ON],
    publish: async (events: readonly DomainEvent[]) => {
      point('before the publish')
      if (fault === 'checkpointFirst') {
        // In that time, the relay saves its checkpoint.
        published = published
          .then(() => delay(options.killWithin > 0 ? 500 : 0))
          .then(() => {
            faultyPoint()
            return bus.publish(events)
          })
        return
      }
      const confirmed = beginning('in the publish')
      await bus.publish(events)
      confirmed()
      point('after the confirmation')
      beginning('in the save of the checkpoint')
    },
  }
  manager.relay(target, { name: 'relay', batchSize: 20, checkpointEveryEvents: 1, pollIntervalMs: 200 })
  manager.start()
  dieSometime()
  await stopped
}

/** By event id: the commits that have begun. */
const commits = new Map<string, () => void>()

const withNote = stores.inbox.once<Ordered>('effect', async ({ n, eventId }, { tx }) => {
  await insert(tx, 'effects', n)
  point('before the commit')
  commits.set(eventId, beginning('in the commit'))
})

/** The fault: note and effect in two transactions. */
async function inTwoTransactions({ eventId, n }: Ordered): Promise<void> {
  if (await stores.inbox.has('effect', eventId)) return
  await stores.transaction((tx) => insert(tx, 'effects', n))
  faultyPoint()
  await stores.transaction((tx) => tx.inbox.add('effect', eventId))
}

async function consume(): Promise<void> {
  await using bus = createTortureBus(options.bus)
  const handle = async (event: Ordered, context: HandlerContext) => {
    if (fault === 'twoTransactions') await inTwoTransactions(event)
    else await withNote.handle(event, context)
    commits.get(event.eventId)?.()
    if (commits.delete(event.eventId)) point('after the commit')
    beginning('in the acknowledgment')
  }
  bus.subscribe(Ordered, handle, { name: 'effect' })
  await bus.connect()
  bus.startConsumingInBackground()
  dieSometime()
  await stopped
}

async function project(): Promise<void> {
  const { events: eventStore, checkpoints } = stores
  await using manager = new SubscriptionManager({ eventStore, checkpoints })
  const handler = handlerFor(Ordered, async ({ n }, { tx }: InboxContext) => {
    await insert(tx, 'projected', n)
    point('before the commit')
    beginning('in the commit')
  })
  manager.subscribe(stores.projection({ name: 'projected', handlers: [handler] }), { pollIntervalMs: 200 })
  manager.start()
  dieSometime()
  await stopped
}

await stores.ready()
await { producer: produce, relay, consumer: consume, projector: project }[role]()
await stores.close()
