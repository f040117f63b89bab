import { expect, it } from 'vitest'
import {
  type EventStore,
  InMemoryStores,
  type Snapshot,
  type Stores,
  type StoreTransaction,
} from '../../src/index.ts'
import { describeStores, type SuiteRunner } from '../../src/testing/index.ts'
import { NaiveSequenceStores } from './naive-stores.ts'

/** An object that is another one, but for what it does differently. */
function pretending<T extends object>(whole: T, parts: Partial<T>): T {
  return new Proxy(whole, {
    get(target, key) {
      const member: unknown = Reflect.get(key in parts ? parts : target, key)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
}

/** Runs the suite's tests whose names are wanted. @returns the names of those that fail. */
async function failing(create: () => Stores, wanted: readonly string[]): Promise<readonly string[]> {
  const failed: string[] = []
  const runs: (() => Promise<void>)[] = []
  const add = (name: string, body: () => Promise<void>) => {
    if (wanted.includes(name)) runs.push(() => body().catch(() => void failed.push(name)))
  }
  const runner: SuiteRunner = { describe: (_name, body) => body(), it: Object.assign(add, { skip: add }) }
  describeStores('collected', { runner, create, writers: 5 })
  expect(runs).toHaveLength(wanted.length)
  for (const run of runs) await run()
  return failed
}

const withEvents = (whole: Stores, parts: Partial<EventStore>) =>
  pretending(whole, { events: pretending(whole.events, parts) })

/** Transactions that write to the stores themselves: at once, and for good. */
function withoutTransactions(whole: InMemoryStores): Stores {
  const { events, snapshots, checkpoints, deadLetters } = whole
  const tx = { client: undefined, events, snapshots, checkpoints, deadLetters }
  return pretending<Stores>(whole, {
    transaction: <T>(work: (tx: StoreTransaction) => Promise<T>) => work(tx),
  })
}

/** Transactions in which one of the stores is the shared one. */
function outsideOf(whole: InMemoryStores, part: 'snapshots' | 'checkpoints' | 'deadLetters'): Stores {
  return pretending<Stores>(whole, {
    transaction: <T>(work: (tx: StoreTransaction) => Promise<T>) =>
      whole.transaction((tx) => work({ ...tx, [part]: whole[part] })),
  })
}

const faults: readonly (readonly [string, (whole: InMemoryStores) => Stores, string])[] = [
  [
    'draws positions from a sequence and shows them at the commit',
    () => new NaiveSequenceStores(),
    'shows no event to a follower before a lower position that commits later',
  ],
  [
    'draws positions from a sequence, in any interleaving',
    () => new NaiveSequenceStores(),
    'lets followers see each event once while transactions interleave, stay open and are rolled back',
  ],
  [
    'shows events before their commit',
    withoutTransactions,
    'shows nothing of a transaction before its commit, and everything afterwards',
  ],
  [
    'keeps what was rolled back',
    withoutTransactions,
    'stores nothing of a transaction that is rolled back, and passes its error on',
  ],
  [
    'keeps a deletion that was rolled back',
    withoutTransactions,
    'keeps a stream whose deletion is rolled back',
  ],
  [
    'wraps the error of a transaction',
    (whole) =>
      pretending<Stores>(whole, {
        transaction: (work) =>
          whole.transaction(work).catch((cause: unknown) => {
            throw new Error('rolled back', { cause })
          }),
      }),
    'rolls back writes to all stores together',
  ],
  [
    'saves snapshots outside of the transaction',
    (whole) => outsideOf(whole, 'snapshots'),
    'commits writes to all stores together',
  ],
  [
    'saves checkpoints outside of the transaction',
    (whole) => outsideOf(whole, 'checkpoints'),
    'rolls back writes to all stores together',
  ],
  [
    'removes parked events outside of the transaction',
    (whole) => outsideOf(whole, 'deadLetters'),
    'rolls back removals',
  ],
  [
    'forgets a deleted stream altogether',
    (whole) =>
      withEvents(whole, {
        deleteStream: async (stream) => {
          await whole.events.deleteStream(stream)
          return { newVersion: 0, globalPosition: 0 }
        },
      }),
    'deletes the events of a stream, and leaves a tombstone in the feed',
  ],
  [
    'gives pages without what was stored last',
    (whole) =>
      withEvents(whole, {
        readPage: async (options) => {
          const page = await whole.events.readPage(options)
          return { ...page, events: page.events.slice(0, -1) }
        },
      }),
    'returns pages with the end of the feed, independent of the filter',
  ],
  [
    'takes the last event of a page for the head',
    (whole) =>
      withEvents(whole, {
        readPage: async (options) => {
          const page = await whole.events.readPage(options)
          return { ...page, head: page.events.at(-1)?.position ?? 0 }
        },
      }),
    'returns pages with the end of the feed, independent of the filter',
  ],
  [
    'replaces a snapshot by an older one',
    (whole) =>
      pretending<Stores>(whole, {
        snapshots: pretending(whole.snapshots, {
          save: async (snapshot: Snapshot) => {
            await whole.snapshots.delete(snapshot.aggregateType, snapshot.aggregateId)
            await whole.snapshots.save(snapshot)
          },
        }),
      }),
    'replaces a snapshot, but not by an older one of the same schema',
  ],
  [
    'never looks at the previous checkpoint',
    (whole) =>
      pretending<Stores>(whole, {
        checkpoints: pretending(whole.checkpoints, {
          save: async (name, checkpoint) => {
            const present = await whole.checkpoints.load(name)
            await whole.checkpoints.save(name, checkpoint, present?.position)
          },
        }),
      }),
    'refuses to move a checkpoint that another instance has moved',
  ],
  [
    'forgets fencing numbers',
    (whole) =>
      pretending<Stores>(whole, {
        checkpoints: pretending(whole.checkpoints, {
          save: (name, checkpoint, previous) =>
            whole.checkpoints.save(name, { ...checkpoint, fence: undefined }, previous),
        }),
      }),
    'refuses a former owner of the lease by its fencing number',
  ],
  [
    'gives the same fencing number to everybody',
    (whole) =>
      pretending<Stores>(whole, {
        leases: pretending(whole.leases, {
          acquire: async (...args) => (await whole.leases.acquire(...args)) && { fence: 1 },
        }),
      }),
    'raises the fencing number with each change of owner',
  ],
  [
    'gives a lease to everybody',
    (whole) =>
      pretending<Stores>(whole, {
        leases: pretending(whole.leases, {
          acquire: (name, owner, ttlMs) => whole.leases.acquire(`${name} ${owner}`, owner, ttlMs),
        }),
      }),
    'gives a lease to one owner at a time',
  ],
  [
    'tells nobody of a lease that was given back',
    (whole) =>
      pretending<Stores>(whole, {
        leases: pretending(whole.leases, { onRelease: () => () => undefined }),
      }),
    'wakes standby instances when a lease is released',
  ],
  [
    'begins each page of parked events anew',
    (whole) =>
      pretending<Stores>(whole, {
        deadLetters: pretending(whole.deadLetters, {
          list: async ({ after, ...filter } = {}) => {
            const page = await whole.deadLetters.list(filter)
            return after === undefined ? page : page.slice(1, 1)
          },
        }),
      }),
    'lists by subscription and position, in pages',
  ],
  [
    'keeps parked events as text',
    (whole) =>
      pretending<Stores>(whole, {
        deadLetters: pretending(whole.deadLetters, {
          list: async (filter) =>
            (await whole.deadLetters.list(filter)).map((parked) => ({
              ...parked,
              event: JSON.parse(JSON.stringify(parked.event)),
            })),
        }),
      }),
    'keeps an event whose class is unknown',
  ],
]

it.each(faults)('catches stores that %s', { timeout: 30_000 }, async (_what, sabotage, test) => {
  expect(await failing(() => sabotage(new InMemoryStores()), [test])).toEqual([test])
})
