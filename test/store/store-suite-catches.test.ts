import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import {
  type EventStore,
  InMemoryEventStore,
  type ReadAllOptions,
  type StoredEvent,
} from '../../src/index.ts'
import { describeEventStore, type SuiteRunner } from '../../src/testing/index.ts'

type Sabotage = (whole: EventStore) => Partial<EventStore>

/** A store with some members replaced. */
function pretending(whole: EventStore, parts: Partial<EventStore>): EventStore {
  return new Proxy(whole, {
    get(target, key) {
      const member: unknown = Reflect.get(key in parts ? parts : target, key)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
}

/** Names of the suite's tests that fail on a sabotaged store. */
async function failing(sabotage: Sabotage): Promise<readonly string[]> {
  const failed: string[] = []
  const runs: (() => Promise<void>)[] = []
  const add = (name: string, body: () => Promise<void>) => {
    runs.push(() => body().catch(() => void failed.push(name)))
  }
  const runner: SuiteRunner = { describe: (_name, body) => body(), it: Object.assign(add, { skip: add }) }
  const create = () => {
    const whole = new InMemoryEventStore()
    return pretending(whole, sabotage(whole))
  }
  describeEventStore('collected', { runner, create, writers: 5 })
  for (const run of runs) await run()
  return failed
}

async function* filtered(
  events: AsyncIterable<StoredEvent>,
  isShown: (stored: StoredEvent) => boolean,
): AsyncIterable<StoredEvent> {
  for await (const stored of events) if (isShown(stored)) yield stored
}

/** Shows every third event only when it has been asked for a few times: a transaction that commits late. */
function commitsLate(whole: EventStore): Partial<EventStore> {
  const asked = new Map<number, number>()
  const isShown = ({ position }: StoredEvent) => {
    const count = (asked.get(position) ?? 0) + 1
    asked.set(position, count)
    return position % 3 !== 0 || count > 2
  }
  return { readAll: (options) => filtered(whole.readAll(options), isShown) }
}

const faults: readonly (readonly [string, Sabotage, string])[] = [
  [
    'shows an event after later ones',
    commitsLate,
    'never lets a reader skip an event while writers interleave',
  ],
  [
    'checks the version only before a wait',
    (whole) => ({
      appendEvents: async (request) => {
        const { aggregateId, aggregateType } = request
        const { version } = await whole.getEvents(aggregateId, { aggregateType })
        await nextTurn()
        const isExpected = request.expectedVersion === version
        return whole.appendEvents({
          ...request,
          expectedVersion: isExpected ? 'any' : request.expectedVersion,
        })
      },
    }),
    'lets exactly one of many writers win if all expect the same version',
  ],
  [
    'never checks the version',
    (whole) => ({ appendEvents: (request) => whole.appendEvents({ ...request, expectedVersion: 'any' }) }),
    'appends only if the stream has the expected version',
  ],
  [
    'checks the version before the ids',
    (whole) => ({
      appendEvents: async (request) => {
        const { expectedVersion } = request
        await whole.appendEvents({ ...request, events: [], expectedVersion })
        return whole.appendEvents(request)
      },
    }),
    'returns the first result for a repeated append, and adds nothing',
  ],
  [
    'writes the events of an append one by one',
    (whole) => ({
      appendEvents: async (request) => {
        for (const event of request.events) {
          const { aggregateId, aggregateType } = event
          await whole.appendEvents({ aggregateId, aggregateType, events: [event], expectedVersion: 'any' })
        }
        return whole.appendEvents(request)
      },
    }),
    'writes all events of an append, or none',
  ],
  [
    'counts events that a filter excludes towards the limit',
    (whole) => ({
      readAll: ({ fromPosition = 0, limit = Number.POSITIVE_INFINITY, ...filter }: ReadAllOptions = {}) =>
        filtered(
          whole.readAll({ ...filter, fromPosition }),
          ({ position }) => position <= fromPosition + limit,
        ),
    }),
    'finds a few matching events among many others',
  ],
  [
    'returns the event at the position again',
    (whole) => ({
      readAll: ({ fromPosition = 0, ...rest }: ReadAllOptions = {}) =>
        whole.readAll({ ...rest, fromPosition: fromPosition - 1 }),
    }),
    'reads the feed in commit order, after a position, up to a limit',
  ],
  [
    'reads a page beyond its end',
    (whole) => ({
      readPage: ({ toPosition: _, ...rest }: ReadAllOptions = {}) => whole.readPage(rest),
    }),
    'browses stored events in both directions, by position, aggregate and time',
  ],
  [
    'uses the number of events as the version',
    (whole) => ({
      getEvents: async (aggregateId, options) => {
        const stream = await whole.getEvents(aggregateId, options)
        return { ...stream, version: stream.events.length }
      },
    }),
    'returns the requested part of a stream, with the version of the whole stream',
  ],
  [
    'wakes no listener',
    () => ({ onAppend: () => () => undefined }),
    'notifies its listeners when the events can be read',
  ],
]

it.each(faults)('detects a store that %s', async (_what, sabotage, test) => {
  expect(await failing(sabotage)).toContain(test)
})
