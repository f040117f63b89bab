// A writer or a subscriber of a run: node worker.ts '{...}'; see `StoreWorkerOptions`. SIGTERM ends it.
import { setTimeout as delay } from 'node:timers/promises'
import {
  defineEvent,
  handlerFor,
  InMemoryEventBus,
  type StreamStore,
  SubscriptionManager,
} from '../../../src/index.ts'
import { Random } from '../../../src/verify/random.ts'
import { type StoresPlace, storesOf } from '../../support/stores-of.ts'
import { SecretWatch } from '../secret-watch.ts'
import { brokenStores, type StoreBreakage } from './breakage.ts'
import { StoreHistory } from './facts.ts'

export interface StoreWorkerOptions {
  readonly name: string
  readonly role: 'writer' | 'subscriber'
  readonly folder: string
  readonly place: StoresPlace
  readonly seed: number
  readonly leaseTtlMs: number
  readonly maxRetries: number
  readonly breakage: StoreBreakage | undefined
}

/** How often a subscriber looks for its password in what it shows, in milliseconds. */
const LOOK_MS = 2000

class Tortured extends defineEvent<{ readonly failures: number }>()({
  type: 'Tortured',
  aggregateType: 'Tortured',
}) {}

// Written by the run.
const options = JSON.parse(process.argv[2] ?? '{}') as StoreWorkerOptions
const { name, breakage } = options
const history = new StoreHistory(options.folder, name)
const random = new Random(options.seed)
const stopping = new AbortController()
process.once('SIGTERM', () => stopping.abort())
process.stdout.write('ready\n')
const watch = new SecretWatch((what) => history.record({ kind: 'leaked', what }))
const stores = brokenStores(storesOf(options.place, [Tortured], watch.logger), breakage)

function someEvents(aggregateId: string): readonly Tortured[] {
  return Array.from({ length: random.integer(1, 3) }, () => {
    const failures = random.oneIn(40) ? random.pick([1, 2, 99]) : 0
    return new Tortured({ aggregateId, failures })
  })
}

const append = (events: StreamStore, aggregateId: string, some: readonly Tortured[]) =>
  events.appendEvents({ aggregateId, aggregateType: 'Tortured', events: some, expectedVersion: 'any' })

/** Appends, each repeated until it is known to be stored. */
async function single(): Promise<void> {
  while (!stopping.signal.aborted) {
    const stream = random.oneIn(3) ? `shared-${random.integer(1, 5)}` : `${name}-${random.integer(1, 10)}`
    const some = someEvents(stream)
    const ids = some.map(({ eventId }) => eventId)
    if (breakage === 'confirmsEarly') {
      history.record({ kind: 'stored', ids })
      await delay(100)
    }
    for (;;) {
      try {
        await append(stores.events, stream, some)
        history.record({ kind: 'stored', ids })
        break
      } catch (error) {
        watch.look('error of an append', error)
        if (Reflect.get(Object(error), 'retryable') !== true) throw error
        history.record({ kind: 'unknown', ids })
        if (stopping.signal.aborted) return
        await delay(30)
      }
    }
    await delay(random.integer(0, 10))
  }
}

/** Transactions that are held open, one event per statement; some are rolled back. */
async function held(): Promise<void> {
  while (!stopping.signal.aborted) {
    const some = someEvents(`${name}-held-${random.integer(1, 10)}`)
    const ids = some.map(({ eventId }) => eventId)
    const isUndone = random.oneIn(8)
    try {
      await stores.transaction(async (tx) => {
        for (const event of some) {
          await append(tx.events, event.aggregateId, [event])
          await delay(random.integer(0, 10))
        }
        if (isUndone) throw new Undone()
      })
      history.record({ kind: 'stored', ids })
    } catch (error) {
      watch.look('error of a transaction', error)
      const { code, retryable } = Object(error)
      if (!(error instanceof Undone) && retryable !== true && code !== '40P01') throw error
      history.record({ kind: code === 'STORE_OUTCOME_UNKNOWN' ? 'unknown' : 'notStored', ids })
      await delay(30)
    }
    await delay(random.integer(0, 20))
  }
}

class Undone extends Error {}

async function subscribe(): Promise<void> {
  const { events: eventStore, checkpoints, leases, deadLetters } = stores
  const { leaseTtlMs, maxRetries } = options
  const { logger } = watch
  const parts = { eventStore, checkpoints, leases, deadLetters, leaseTtlMs, logger, instanceId: name }
  const manager = new SubscriptionManager(parts)
  const retry = { maxRetries, retryBaseDelayMs: 5, onFailure: 'deadLetter' } as const
  const common = { ...retry, checkpointEveryEvents: 20, batchSize: 50, pollIntervalMs: 200 }
  const handlers = (subscription: string) => [
    handlerFor(Tortured, async ({ eventId }) => {
      // A subscription that has caught up has no position ahead of it.
      if (breakage === 'checkpointsAhead') await delay(5)
      noteHandled(subscription, 'steady', eventId)
    }),
    handlerFor(Tortured, async ({ eventId, failures }, { attempt }) => {
      if (random.oneIn(20)) await delay(random.integer(0, 5))
      if (attempt <= failures) throw new Error('as told')
      noteHandled(subscription, 'flaky', eventId)
    }),
  ]
  manager.subscribe({ name: 'ordered', handlers: handlers('ordered') }, common)
  manager.subscribe(
    { name: 'lanes', handlers: handlers('lanes') },
    { ...common, concurrency: 4, maxInFlight: 50 },
  )
  const bus = new InMemoryEventBus({ logger })
  bus.subscribe(Tortured, ({ eventId }) => noteHandled('relay', 'steady', eventId))
  manager.relay(bus, { name: 'relay', checkpointEveryEvents: 20, batchSize: 20, pollIntervalMs: 200 })
  manager.start()
  const looking = setInterval(() => void look(manager), LOOK_MS)
  await new Promise((resolve) => stopping.signal.addEventListener('abort', resolve, { once: true }))
  clearInterval(looking)
  await manager.stop()
  await bus.shutdown()
}

/** Looks at what an operator sees of the subscriptions and the store. */
async function look(manager: SubscriptionManager): Promise<void> {
  watch.look('health', await manager.health().catch((error: unknown) => error))
}

function noteHandled(subscription: string, handler: string, id: string): void {
  history.record({ kind: 'handled', subscription, handler, id })
}

if (options.role === 'writer') await Promise.all([single(), held(), held()])
else await subscribe()
await stores.close()
