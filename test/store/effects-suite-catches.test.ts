import { expect, it } from 'vitest'
import {
  type EventHandler,
  type HandlerContext,
  type Inbox,
  type InboxHandler,
  InMemoryStores,
  type Outbox,
  type Stores,
  type StoreTransaction,
  SubscriptionManager,
} from '../../src/index.ts'
import {
  type DescribeStoresOptions,
  describeInbox,
  describeOutbox,
  type PublishedTo,
  type RunningRelay,
  type SuiteRunner,
} from '../../src/testing/index.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

/** Runs a suite. @returns the names of the tests that fail. */
async function failing(
  suite: (name: string, options: DescribeStoresOptions) => void,
  options: Omit<DescribeStoresOptions, 'runner'>,
): Promise<readonly string[]> {
  const failed: string[] = []
  const runs: (() => Promise<void>)[] = []
  const add = (name: string, body: () => Promise<void>) => {
    runs.push(() => body().catch(() => void failed.push(name)))
  }
  const it = Object.assign(add, { skip: () => undefined })
  const runner: SuiteRunner = { describe: (_name, body) => body(), it }
  suite('collected', { ...options, runner, lacks: { concurrentTransactions: 'one after the other' } })
  for (const run of runs) await run()
  return failed
}

/** Stores whose inbox is another one. */
function withInbox(once: (stores: InMemoryStores) => Once): Stores {
  const stores = new InMemoryStores()
  const inbox: Inbox = {
    once: (name, handler) => ({
      name,
      handle: (event, context) => once(stores)(name, handler, event, context),
    }),
    has: (...note) => stores.inbox.has(...note),
    prune: (before) => stores.inbox.prune(before),
  }
  return new Proxy<Stores>(stores, {
    get(target, key) {
      const member: unknown = key === 'inbox' ? inbox : Reflect.get(target, key)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
}

type Once = <E extends Parameters<EventHandler['handle']>[0]>(
  name: string,
  handler: InboxHandler<E>,
  event: E,
  context: HandlerContext,
) => Promise<void>

const runIn = <E>(
  tx: StoreTransaction,
  context: HandlerContext,
  handler: (event: E, context: never) => unknown,
  event: E,
) => handler(event, Object.assign(Object.create(context), { tx, idempotencyKey: '' }) as never)

it('detects an inbox that commits the record before the effect', async () => {
  const create = () =>
    withInbox((stores) => async (name, handler, event, context) => {
      if (!(await stores.transaction((tx) => tx.inbox.add(name, event.eventId)))) return
      await stores.transaction(async (tx) => runIn(tx, context, handler, event))
    })

  const failed = await failing(describeInbox, { create })
  expect(failed).toContain('shows neither the note nor the effect before both are committed')
  expect(failed).toContain('rolls back the note and the writes of a handler that fails')
})

it('detects an inbox that commits the record after the effect', async () => {
  const create = () =>
    withInbox((stores) => async (name, handler, event, context) => {
      if (await stores.inbox.has(name, event.eventId)) return
      await stores.transaction(async (tx) => runIn(tx, context, handler, event))
      await stores.transaction((tx) => tx.inbox.add(name, event.eventId))
    })

  const failed = await failing(describeInbox, { create })
  expect(failed).toContain('stores the note in the transaction of the handler')
  expect(failed).toContain('lets the second of two deliveries at once wait, and then do nothing')
})

/** A relay that saves its checkpoint before it publishes. */
function hastyRelay(outbox: Outbox, bus: PublishedTo, name: string): RunningRelay {
  const manager = new SubscriptionManager({ eventStore: outbox, logger: new RecordingLogger() })
  manager.relay({ publish: async (events) => void bus.publish([...events]).catch(() => undefined) }, { name })
  manager.start()
  return { whenPublished: () => manager.whenCaughtUp(name), stop: async () => void (await manager.stop()) }
}

it('detects a relay that saves its checkpoint first', async () => {
  const failed = await failing(describeOutbox, { create: () => new InMemoryStores(), startRelay: hastyRelay })

  expect(failed).toContain('publishes what a relay could not publish before it stopped')
})

it('detects an outbox that publishes rolled-back events', async () => {
  const create = () => {
    const stores = new InMemoryStores()
    return new Proxy<Stores>(stores, {
      get(target, key) {
        const transaction: Stores['transaction'] = (work) =>
          stores.transaction((tx) =>
            work({ ...tx, outbox: { add: async (events) => stores.outbox.commit(events) } }),
          )
        const member: unknown = key === 'transaction' ? transaction : Reflect.get(target, key)
        return typeof member === 'function' ? member.bind(target) : member
      },
    })
  }

  const failed = await failing(describeOutbox, { create })
  expect(failed).toContain('publishes nothing of a transaction that is rolled back')
  expect(failed).toContain('shows nothing of a transaction before its commit, and all of it in order then')
})

it('refuses a relay of an outbox with a filter, or with checkpoints of another store', () => {
  const stores = new InMemoryStores()
  const { outbox: eventStore, checkpoints } = stores
  const manager = new SubscriptionManager({ eventStore })
  const bus = { publish: async () => undefined }

  expect(() => manager.relay(bus, { name: 'one', tenantId: 'a' })).toThrow(/must publish all events/)
  expect(() => new SubscriptionManager({ eventStore, checkpoints })).toThrow(/omit checkpoints and leases/)
  expect(() => manager.relay(bus, { name: 'one' })).not.toThrow()
})
