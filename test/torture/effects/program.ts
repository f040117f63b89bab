// One of the processes between an order and its effects, which kills itself: node program.ts '{...}'; see `ProgramOptions`.
// SIGTERM ends it.
import { setTimeout as delay } from 'node:timers/promises'
import {
  defineEvent,
  type HandlerContext,
  handlerFor,
  type InboxContext,
  type StoreTransaction,
  SubscriptionManager,
} from '../../../src/index.ts'
import type { PostgresClient } from '../../../src/postgres/index.ts'
import type { SqliteConnection } from '../../../src/sqlite/index.ts'
import { type StoresPlace, storesOf } from '../../support/stores-of.ts'
import { Random } from '../random.ts'
import { createTortureBus, type TortureBusOptions } from '../torture-bus.ts'
import { CUSTOMERS, isCanceled, type Role, tableName } from './judge.ts'

/** The options that the run passes to a process. */
export interface ProgramOptions {
  readonly role: Role
  readonly place: StoresPlace
  readonly bus: TortureBusOptions
  /** The producer places the orders with these numbers, the last one excluded. */
  readonly orders: readonly [from: number, to: number]
  readonly seed: number
  /** The process kills itself at one of this many points, or after some time; never if it is 0. */
  readonly killWithin: number
  readonly fault: EffectFault | undefined
}

/** A deliberate fault, which the judge must find. */
export type EffectFault = 'twoTransactions' | 'checkpointFirst'

/** Longest life of a process that is killed, in milliseconds. It starts when the process is ready. */
const LONGEST_LIFE_MS = 1000

class Ordered extends defineEvent<{ readonly n: number }>()({ type: 'Ordered', aggregateType: 'Customer' }) {}

// The run wrote the argument, so it has this type.
const options = JSON.parse(process.argv[2] ?? '{}') as ProgramOptions
const { role, fault, place } = options
const random = new Random(options.seed)
const stopping = new AbortController()
process.once('SIGTERM', () => stopping.abort())
const stopped = new Promise((resolve) => stopping.signal.addEventListener('abort', resolve, { once: true }))
const stores = storesOf(place, [Ordered])
let pointsToLive = options.killWithin === 0 ? Number.POSITIVE_INFINITY : random.integer(1, options.killWithin)

function die(): void {
  process.kill(process.pid, 'SIGKILL')
}

/** A point at which the process may end. */
function point(): void {
  if (fault !== undefined) return
  pointsToLive -= 1
  if (pointsToLive <= 0) die()
}

/** The point at which a process with a fault ends, so that the fault certainly shows. */
function faultyPoint(): void {
  if (options.killWithin > 0) die()
}

/** Ends the process at a time that no code chooses: in a commit, a confirmation or an acknowledgment. */
function dieSometime(): void {
  if (options.killWithin > 0 && fault === undefined) setTimeout(die, random.integer(0, LONGEST_LIFE_MS))
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
  try {
    await stores.transaction(async (tx) => {
      if (!(await tx.inbox.add('placed', String(n)))) return
      const event = new Ordered({ aggregateId, n })
      await insert(tx, 'orders', n)
      point()
      await tx.outbox.add([event])
      const { aggregateType } = event
      await tx.events.appendEvents({ aggregateId, aggregateType, events: [event], expectedVersion: 'any' })
      point()
      if (isCanceled(n)) throw new Error('canceled')
    })
  } catch (thrown) {
    if (!isCanceled(n)) throw thrown
  }
  point()
}

async function produce(): Promise<void> {
  const [from, to] = options.orders
  for (let n = from; n < to; n += 1) await placeOrder(n)
}

async function relay(): Promise<void> {
  await using bus = createTortureBus(options.bus)
  await bus.connect()
  await using manager = new SubscriptionManager({ eventStore: stores.outbox, leaseTtlMs: 1000 })
  let published = Promise.resolve()
  manager.relay(
    {
      publish: async (events) => {
        point()
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
        await bus.publish(events)
        point()
      },
    },
    { name: 'relay', batchSize: 20, checkpointEveryEvents: 1, pollIntervalMs: 200 },
  )
  manager.start()
  dieSometime()
  await stopped
}

const withNote = stores.inbox.once<Ordered>('effect', async ({ n }, { tx }) => {
  point()
  await insert(tx, 'effects', n)
  point()
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
    point()
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
    point()
    await insert(tx, 'projected', n)
    point()
  })
  manager.subscribe(stores.projection({ name: 'projected', handlers: [handler] }), { pollIntervalMs: 200 })
  manager.start()
  dieSometime()
  await stopped
}

await stores.ready()
await { producer: produce, relay, consumer: consume, projector: project }[role]()
await stores.close()
