import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import {
  type AppendRequest,
  type Checkpoint,
  CheckpointConflictError,
  type EventStore,
  GenericEvent,
  InMemoryStores,
  type Snapshot,
  type Stores,
  type StoreTransaction,
  TransactionalProjection,
} from '../../src/index.ts'
import { type Noted, noted } from '../../src/testing/conformance/events.ts'
import { describeStores, type StoreWriter, type SuiteRunner } from '../../src/testing/index.ts'
import { Renamed } from '../../src/testing/store-conformance/evolved-events.ts'
import { paced } from '../support/pace.ts'
import { NaiveSequenceStores } from './naive-stores.ts'

/** An object with some members replaced. */
function pretending<T extends object>(whole: T, parts: Partial<T>): T {
  return new Proxy(whole, {
    get(target, key) {
      const member: unknown = Reflect.get(key in parts ? parts : target, key)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
}

/** Runs the suite's tests whose names are wanted. @returns the names of those that fail. */
async function failing(
  create: () => Stores,
  wanted: readonly string[],
  startWriter?: (stores: Stores) => StoreWriter,
): Promise<readonly string[]> {
  const failed: string[] = []
  const runs: (() => Promise<void>)[] = []
  const add = (name: string, body: () => Promise<void>) => {
    if (wanted.includes(name)) runs.push(() => body().catch(() => void failed.push(name)))
  }
  const runner: SuiteRunner = { describe: (_name, body) => body(), it: Object.assign(add, { skip: add }) }
  describeStores('collected', {
    runner,
    create,
    writers: 5,
    ...(startWriter !== undefined && { startWriter }),
  })
  expect(runs).toHaveLength(wanted.length)
  for (const run of runs) await run()
  return failed
}

const withEvents = (whole: Stores, parts: Partial<EventStore>) =>
  pretending(whole, { events: pretending(whole.events, parts) })

/** Transactions that write directly to the stores, so that a rollback has no effect. */
function withoutTransactions(whole: InMemoryStores): Stores {
  const { events, snapshots, checkpoints, deadLetters } = whole
  const tx = {
    ...{ client: undefined, events, snapshots, checkpoints, deadLetters },
    // Not used by the tests that run on it.
    ...{ inbox: { add: async () => true }, outbox: { add: async () => undefined } },
  }
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

/** The same append with events of version 1. */
function asFirst(request: AppendRequest): AppendRequest {
  const events = request.events.map((event) =>
    event instanceof GenericEvent ? new GenericEvent({ ...event, eventVersion: 1 }) : event,
  )
  return { ...request, events }
}

/** Stores whose projections run in transactions that are changed. */
function projectingIn(whole: InMemoryStores, change: (tx: StoreTransaction) => StoreTransaction): Stores {
  const { checkpoints, deadLetters } = whole
  return pretending<Stores>(whole, {
    projection: (options) => {
      const transaction = <T>(work: (tx: StoreTransaction) => Promise<T>) =>
        whole.transaction((tx) => work(change(tx)))
      return TransactionalProjection.create({ transaction, checkpoints, deadLetters }, options)
    },
  })
}

/** Stores whose projections commit a transaction that fails. */
function committingFailures(whole: InMemoryStores): Stores {
  return pretending<Stores>(whole, {
    projection: (options) => {
      const transaction = async <T>(work: (tx: StoreTransaction) => Promise<T>) => {
        const ended = await whole.transaction(async (tx) =>
          work(tx).then(
            (result) => ({ result }),
            (error: unknown) => ({ error }),
          ),
        )
        if ('error' in ended) throw ended.error
        return ended.result
      }
      const { checkpoints, deadLetters } = whole
      return TransactionalProjection.create({ transaction, checkpoints, deadLetters }, options)
    },
  })
}

const faults: readonly (readonly [string, (whole: InMemoryStores) => Stores, string])[] = [
  [
    'takes positions from a sequence and shows events at the commit',
    () => new NaiveSequenceStores(),
    'shows no event to a follower before a lower position that commits later',
  ],
  [
    'takes positions from a sequence, in any interleaving',
    () => new NaiveSequenceStores(),
    'lets followers see each event once while transactions interleave, stay open and are rolled back',
  ],
  [
    'shows events before their commit',
    withoutTransactions,
    'shows nothing of a transaction before its commit, and everything afterwards',
  ],
  [
    'keeps events that were rolled back',
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
    'forgets a deleted stream completely',
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
    'returns pages without the last stored events',
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
    'uses the last event of a page as the head',
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
    'keeps the snapshot of a deleted stream',
    (whole) =>
      withEvents(whole, {
        deleteStream: async (stream) => {
          const snapshot = await whole.snapshots.load(stream.aggregateType, stream.aggregateId)
          const deleted = await whole.events.deleteStream(stream)
          if (snapshot !== undefined) await whole.snapshots.save(snapshot)
          return deleted
        },
      }),
    'deletes the snapshot of a stream with the stream',
  ],
  [
    'never checks the previous checkpoint',
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
    'lists the checkpoints in the order of the first save',
    (whole) => {
      const names: string[] = []
      return pretending<Stores>(whole, {
        checkpoints: pretending(whole.checkpoints, {
          save: async (name, ...args) => {
            await whole.checkpoints.save(name, ...args)
            if (!names.includes(name)) names.push(name)
          },
          list: async () => {
            const listed = await whole.checkpoints.list()
            return names.flatMap((name) => listed.filter((one) => one.name === name))
          },
        }),
      })
    },
    'lists all checkpoints by name, with the time of the last save',
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
    'drops the fencing number with a save that has none',
    (whole) => {
      const saved = new Map<string, Checkpoint>()
      const save = async (name: string, checkpoint: Checkpoint) => {
        const { position, fence = 0 } = saved.get(name) ?? {}
        if ((checkpoint.fence ?? fence) < fence) throw new CheckpointConflictError(name, undefined, position)
        saved.set(name, checkpoint)
      }
      const load = async (name: string) => saved.get(name)
      return pretending<Stores>(whole, { checkpoints: pretending(whole.checkpoints, { load, save }) })
    },
    'keeps the fencing number through a save without one, so that a former owner stays refused',
  ],
  [
    'moves the checkpoint of a projection though it is there already',
    (whole) =>
      projectingIn(whole, (tx) => ({
        ...tx,
        checkpoints: pretending(tx.checkpoints, { advance: (...args) => tx.checkpoints.save(...args) }),
      })),
    'has one effect for each event though two instances run it at once',
  ],
  [
    'moves the checkpoint of a projection outside of its transaction',
    (whole) => projectingIn(whole, (tx) => ({ ...tx, checkpoints: whole.checkpoints })),
    'moves the checkpoint in the transaction of the handlers',
  ],
  [
    'keeps the writes of a handler that fails',
    committingFailures,
    'rolls back the writes and the checkpoint of a handler that fails',
  ],
  [
    'moves readers to a projection that did not take the place of another',
    committingFailures,
    'keeps the current projection if the switch fails',
  ],
  [
    'moves the checkpoint of a new projection though it is there already',
    (whole) =>
      projectingIn(whole, (tx) => ({
        ...tx,
        checkpoints: pretending(tx.checkpoints, { advance: async () => undefined }),
      })),
    'fills another projection, and switches the readers when it has all events',
  ],
  [
    'keeps the dead-lettered events of a projection that handles all events again',
    (whole) =>
      projectingIn(whole, (tx) => ({
        ...tx,
        deadLetters: pretending(tx.deadLetters, { list: async () => [] }),
      })),
    'removes dead-lettered events when it handles all events again',
  ],
  [
    'records no event that a projection has handled inline',
    (whole) => projectingIn(whole, (tx) => ({ ...tx, inbox: { add: async () => true } })),
    'handles each event once, inline or in the subscription of the same name',
  ],
  [
    'removes no parked event in the transaction that replays it',
    (whole) =>
      projectingIn(whole, (tx) => ({
        ...tx,
        deadLetters: pretending(tx.deadLetters, { remove: async () => false }),
      })),
    'parks an event, and handles it once when it is replayed',
  ],
  [
    'gives the same fencing number to all owners',
    (whole) =>
      pretending<Stores>(whole, {
        leases: pretending(whole.leases, {
          acquire: async (...args) => (await whole.leases.acquire(...args)) && { fence: 1 },
        }),
      }),
    'raises the fencing number with each change of owner',
  ],
  [
    'gives a lease to all owners',
    (whole) =>
      pretending<Stores>(whole, {
        leases: pretending(whole.leases, {
          acquire: (name, owner, ttlMs) => whole.leases.acquire(`${name} ${owner}`, owner, ttlMs),
        }),
      }),
    'gives a lease to one owner at a time',
  ],
  [
    'notifies no listener of a released lease',
    (whole) =>
      pretending<Stores>(whole, {
        leases: pretending(whole.leases, { onRelease: () => () => undefined }),
      }),
    'wakes standby instances when a lease is released',
  ],
  [
    'checks the latest snapshot only before a wait',
    (whole) =>
      pretending<Stores>(whole, {
        snapshots: pretending(whole.snapshots, {
          save: async (snapshot: Snapshot) => {
            const { aggregateType, aggregateId, version } = snapshot
            const present = await whole.snapshots.load(aggregateType, aggregateId)
            await nextTurn()
            if (present !== undefined && present.version > version) return
            await whole.snapshots.delete(aggregateType, aggregateId)
            await whole.snapshots.save(snapshot)
          },
        }),
      }),
    'keeps the highest version of many that are saved at once',
  ],
  [
    'returns another state for a snapshot',
    (whole) =>
      pretending<Stores>(whole, {
        snapshots: pretending(whole.snapshots, {
          save: (snapshot: Snapshot) => whole.snapshots.save({ ...snapshot, state: String(snapshot.state) }),
        }),
      }),
    'returns a snapshot as it was saved',
  ],
  [
    'checks the previous checkpoint only before a wait',
    (whole) =>
      pretending<Stores>(whole, {
        checkpoints: pretending(whole.checkpoints, {
          save: async (name, checkpoint, previous) => {
            const isExpected = (await whole.checkpoints.load(name))?.position === previous
            await nextTurn()
            const present = await whole.checkpoints.load(name)
            await whole.checkpoints.save(name, checkpoint, isExpected ? present?.position : previous)
          },
        }),
      }),
    'lets one of many concurrent saves move a checkpoint',
  ],
  [
    'refuses a checkpoint that is saved twice',
    (whole) =>
      pretending<Stores>(whole, {
        checkpoints: pretending(whole.checkpoints, {
          save: async (name, checkpoint, previous) => {
            const present = await whole.checkpoints.load(name)
            if (present?.position !== previous) {
              throw new CheckpointConflictError(name, previous, present?.position)
            }
            await whole.checkpoints.save(name, checkpoint, previous)
          },
        }),
      }),
    'treats a repeated save as a no-op',
  ],
  [
    'checks the owner of a lease only before a wait',
    (whole) => {
      const owners = new Map<string, string>()
      return pretending<Stores>(whole, {
        leases: pretending(whole.leases, {
          acquire: async (name, owner) => {
            const present = owners.get(name)
            await nextTurn()
            if (present !== undefined && present !== owner) return undefined
            owners.set(name, owner)
            return { fence: Date.now() }
          },
        }),
      })
    },
    'gives a lease to one of many concurrent callers',
  ],
  [
    'forget the version of an event',
    (whole) => withEvents(whole, { appendEvents: (request) => whole.events.appendEvents(asFirst(request)) }),
    'reads stored events of all versions as instances of the current class',
  ],
  [
    'forget the version of an event before a subscription reads it',
    (whole) => withEvents(whole, { appendEvents: (request) => whole.events.appendEvents(asFirst(request)) }),
    'hands events of all versions to a subscription as the current class',
  ],
  [
    'store events of earlier versions as the current class',
    (whole) =>
      withEvents(whole, {
        appendEvents: async (request) => {
          const outcome = await whole.events.appendEvents(request)
          whole.events.registerEvents([Renamed])
          return outcome
        },
      }),
    'keeps events of earlier versions as they were written',
  ],
  [
    'filter the feed by the names as they are written',
    (whole) => withEvents(whole, { registerEvents: () => undefined }),
    'finds events with former names by the current ones',
  ],
  [
    'start a new stream after a rename',
    (whole) => withEvents(whole, { registerEvents: () => undefined }),
    'continues a stream that was stored under a former aggregate type',
  ],
  [
    'leave out events that their class refuses',
    (whole) =>
      withEvents(whole, {
        readPage: async (options) => {
          const page = await whole.events.readPage(options)
          return { ...page, events: page.events.filter(({ fault }) => fault === undefined) }
        },
      }),
    'parks an event whose upcast fails with the reason, and handles the next',
  ],
  [
    'starts each page of parked events from the beginning',
    (whole) =>
      pretending<Stores>(whole, {
        deadLetters: pretending(whole.deadLetters, {
          list: async ({ after, ...filter } = {}) => {
            const page = await whole.deadLetters.list(filter)
            return after === undefined ? page : page.slice(1, 1)
          },
        }),
      }),
    'lists by subscription and position, in pages, and counts',
  ],
  [
    'counts the parked events of all subscriptions together',
    (whole) =>
      pretending<Stores>(whole, {
        deadLetters: pretending(whole.deadLetters, {
          counts: async () => {
            const counts = await whole.deadLetters.counts()
            const sum = [...counts.values()].reduce((total, count) => total + count, 0)
            return new Map([...counts.keys()].map((subscription) => [subscription, sum]))
          },
        }),
      }),
    'lists by subscription and position, in pages, and counts',
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

/** A writer in this process, in the place of one that can be killed. It writes until it is killed. */
function writerOf({ events }: Stores, write: (batch: readonly Noted[]) => Promise<boolean>): StoreWriter {
  const acknowledged: string[] = []
  let isKilled = false
  const writing = (async () => {
    while (!isKilled) {
      const batch = Array.from({ length: 3 }, (_, n) => noted('killed', n))
      const isStored = await write(batch)
      const stream = { aggregateId: 'killed', aggregateType: 'Note', expectedVersion: 'any' as const }
      if (isStored) await events.appendEvents({ ...stream, events: batch })
      acknowledged.push(...batch.map(({ eventId }) => eventId))
      await nextTurn()
    }
  })()
  return {
    acknowledged,
    async kill() {
      isKilled = true
      await writing
    },
  }
}

const afterKills =
  'keeps every confirmed append of killed writers, stores no partial transaction, and accepts further appends'

it.each<[string, string[], (stores: Stores) => (batch: readonly Noted[]) => Promise<boolean>]>([
  ['store the events that they confirm', [], () => async () => true],
  [
    'confirm events that they do not store',
    [afterKills],
    () =>
      async ([first]) =>
        Number(first?.eventId.at(-1)?.charCodeAt(0)) % 2 === 0,
  ],
  [
    'store a part of a transaction',
    [afterKills],
    ({ events }) =>
      async ([first]) => {
        if (first !== undefined)
          await events.appendEvents({ ...first, events: [first], expectedVersion: 'any' })
        return false
      },
  ],
])('catches writers that %s', async (_what, caughtBy, write) => {
  const startWriter = (stores: Stores) => writerOf(stores, write(stores))

  expect(await failing(() => new InMemoryStores(), [afterKills], startWriter)).toEqual(caughtBy)
})

it.each(faults)('detects stores that %s', { timeout: paced(30_000) }, async (_what, sabotage, test) => {
  expect(await failing(() => sabotage(new InMemoryStores()), [test])).toEqual([test])
})
