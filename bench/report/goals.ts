// The numeric goals that the figures are compared with.
import type { BenchRow } from '../harness.ts'

export interface Goal extends Pick<BenchRow, 'bus' | 'work' | 'peer'> {
  /** The figure of the row that the goal is about: the ratio, `ours`, or `ours` minus `raw`. */
  readonly figure: 'ratio' | 'ours' | 'difference'
  readonly atLeast?: number
  readonly atMost?: number
}

/** A goal in words, and the rows that it is about. */
export interface GoalGroup {
  readonly title: string
  readonly goals: readonly Goal[]
}

const brokers = ['redis', 'rabbitmq', 'kafka'] as const

const BATCHES_100 = 'publish in batches of 100'
const BATCHES_1000 = 'publish in batches of 1,000'
const CONSUME = 'consume with acknowledgment'
const LATENCY = 'publish to handler at 100 events/s, p50'
const LATENCY_TAIL = 'publish to handler at 100 events/s, p99.9'
const SINGLES = ['publish one at a time', 'publish, 100 in flight']
const BOTH_WAYS = 'publish in batches of 1,000 and consume concurrently'
const SERVICE_WORKS = [
  ...['1 aggregate', '100 handlers', '2 consumers', '4 consumers'],
  ...['1 % dead-lettered', '10 % dead-lettered'],
].map((what) => `consume, ${what}`)
const EVENTSOURCE = 'eventsource-py'
const LIVE_HEAP = 'live heap over 1,000,000 events, vs the first 100,000'
const RESIDENT = 'resident memory over 1,000,000 events, vs the first 500,000'

const consumeWorks = {
  redis: [CONSUME],
  rabbitmq: [`${CONSUME}, prefetch 100`, `${CONSUME}, prefetch 10`],
  kafka: [CONSUME, `${CONSUME}, maxInFlight 10,000`],
}

/** Goals as a multiple of eventsource-py: publishing, consuming. */
const eventsourceFactors = { redis: [5, 20], rabbitmq: [3.5, 3.5], kafka: [200, 200] } as const

const peers = {
  redis: ['BullMQ', 'FastStream'],
  rabbitmq: ['FastStream', 'NestJS'],
  kafka: ['FastStream', 'NestJS'],
} as const

const ratio = (bus: string, work: string, atLeast: number, peer?: string): Goal => ({
  ...{ bus, work, figure: 'ratio', atLeast },
  ...(peer === undefined ? {} : { peer }),
})
const ours = (bus: string, work: string, bound: Pick<Goal, 'atLeast' | 'atMost'>): Goal => ({
  ...{ bus, work, figure: 'ours' },
  ...bound,
})

const ADDED: Goal['figure'] = 'difference'
const APPEND_64 = 'append, 64 callers'
const LATENCY_OF_STORE = 'append to handler in another process'
const LISTENER = 'LISTEN and the next rows'

/** What is measured of the durable stores. */
const storeGoals: readonly GoalGroup[] = [
  {
    title: 'Appends to PostgreSQL: 0.9 of the bare client, 0.8 in batches of 100 and 1,000',
    goals: [
      ...['1 x 1', '1 x 10', '8 x 1', '8 x 10'].map((shape) => ratio('postgres', `append, ${shape}`, 0.9)),
      ...['1 x 100', '1 x 1000', '8 x 100'].map((shape) => ratio('postgres', `append, ${shape}`, 0.8)),
      { bus: 'postgres', work: 'a lone append, p50', figure: ADDED, atMost: 0.15 },
    ],
  },
  {
    title:
      '64 callers in one process: 2.6 times eight bare connections to PostgreSQL, within 5 ms; 6 times one transaction each in SQLite',
    goals: [
      ratio('postgres', `${APPEND_64}, beside 8 connections`, 2.6),
      ours('postgres', `${APPEND_64}, p50, beside 8 connections`, { atMost: 5 }),
      ratio('sqlite', APPEND_64, 6),
      {
        ...ours('sqlite', 'delay of the event loop, 99th percentile, 64 callers', { atMost: 10 }),
        peer: 'the main thread',
      },
    ],
  },
  {
    title: 'Appends to SQLite: 0.9 of the bare driver',
    goals: [
      ratio('sqlite', 'append, 1 event after another', 0.9),
      ratio('sqlite', 'append, 100 events at a time', 0.9),
    ],
  },
  {
    title:
      'Reading from PostgreSQL: 0.95 of the bare rows as text, half of them decoded; a filtered page within 2 ms; a stream of 100 within 0.2 ms of the bare client',
    goals: [
      ratio('postgres', 'feed, as stored text', 0.95),
      ratio('postgres', 'feed, decoded', 0.5, 'the bare rows as text'),
      ours('postgres', 'feed, 1 event in 1,000, a page of 100', { atMost: 2 }),
      { bus: 'postgres', work: 'load a stream of 100', figure: ADDED, atMost: 0.2 },
      ratio('postgres', 'import', 0.9, 'one COPY'),
    ],
  },
  {
    title: 'From the append to a handler in another process: 2 ms, 4 ms beside 8 writers; wake-ups cost 2 %',
    goals: [
      { ...ours('postgres', `${LATENCY_OF_STORE}, p50`, { atMost: 2 }), peer: LISTENER },
      { ...ours('postgres', `${LATENCY_OF_STORE}, 8 writers, p50`, { atMost: 4 }), peer: LISTENER },
      ratio('postgres', 'append, 8 x 1, with wake-ups', 0.98, 'without'),
    ],
  },
  {
    title: 'A relay of the outbox: 0.7 of the speed of publish in the same batches',
    goals: (['sqlite', 'postgres'] as const).flatMap((store) =>
      brokers.flatMap((bus) =>
        [100, 1000].map((size) =>
          ratio(store, `relay of the outbox to ${bus}, batches of ${size}`, 0.7, 'publish in such batches'),
        ),
      ),
    ),
  },
  {
    title: 'Faster than Emmett on the same server',
    goals: [
      ...['1 x 1', '8 x 10', '64 x 1'].map((shape) => ratio('postgres', `append, ${shape}`, 1, 'Emmett')),
      ratio('postgres', 'load a stream of 100', 1, 'Emmett'),
    ],
  },
]

export const goalGroups: readonly GoalGroup[] = [
  ...storeGoals,
  {
    title: 'Publishing in batches, every broker: at least 0.9 of the speed of the bare client',
    goals: brokers.flatMap((bus) => [ratio(bus, BATCHES_100, 0.9), ratio(bus, BATCHES_1000, 0.9)]),
  },
  {
    title:
      'Single events and acknowledgments, every broker: at least 0.95 of the speed of the bare client in its fastest form',
    goals: brokers.flatMap((bus) =>
      [...SINGLES, ...consumeWorks[bus], 'drain a backlog of 1,000,000'].map((work) =>
        ratio(bus, work, 0.95),
      ),
    ),
  },
  {
    title:
      'Order across a group, Redis and RabbitMQ: with 8 partitions at least 0.8 of the speed without, and 4 processes at least as fast as one',
    goals: (['redis', 'rabbitmq'] as const).flatMap((bus) => [
      ratio(bus, 'consume, 8 partitions, vs none', 0.8),
      ratio(bus, 'consume, 8 partitions, 4 processes, vs 1', 1),
      ratio(bus, 'consume, async handler of 5 ms, 8 partitions, 4 processes, vs 1', 1),
    ]),
  },
  {
    title:
      'One aggregate, 100 handlers, several consumers in a process, dead letters: 0.85 of the speed of the bare client; start: 0.8; traces: 0.75 of the speed without',
    goals: brokers.flatMap((bus) => [
      ...SERVICE_WORKS.map((work) => ratio(bus, work, 0.85)),
      ratio(bus, 'start to the first handled event', 0.8),
      ratio(bus, 'consume, tracing with the SDK, vs all off', 0.75),
    ]),
  },
  {
    title:
      'Publish to handler: p50 within 0.1 ms of the bare client, and under 1 ms on Redis and RabbitMQ; p99.9 no longer than that of the bare client',
    goals: [
      ...brokers.map((bus): Goal => ({ bus, work: LATENCY, figure: ADDED, atMost: 0.1 })),
      ...brokers.map((bus) => ratio(bus, LATENCY_TAIL, 1)),
      ours('redis', LATENCY, { atMost: 1 }),
      ours('rabbitmq', LATENCY, { atMost: 1 }),
    ],
  },
  {
    title:
      'Compared with eventsource-py 0.4, publishing in batches and consuming: 5 and 20 times as fast on Redis, 3.5 and 3.5 times on RabbitMQ, 200 and 200 times on Kafka, 50 times in memory',
    goals: [
      ...brokers.flatMap((bus) => [
        ratio(bus, BATCHES_100, eventsourceFactors[bus][0], EVENTSOURCE),
        ratio(bus, CONSUME, eventsourceFactors[bus][1], EVENTSOURCE),
      ]),
      ratio('memory', '1 async handler, batches of 1,000', 50, EVENTSOURCE),
    ],
  },
  {
    title: 'Kafka: well above 10,000 events a second, publishing and consuming at the same time',
    goals: [ours('kafka', BOTH_WAYS, { atLeast: 10_000 })],
  },
  {
    title:
      'In memory: batches at 0.5 of the speed of a plain loop with await (0.6 with one sync handler), one event at a time at 0.2, 100 in flight at 0.4; at least 2 times emittery (async); 5,000,000 events a second in batches to one sync handler; an event is built and validated within 700 ns',
    goals: [
      ratio('memory', '1 sync handler, batches of 1,000', 0.6),
      ...['1 async handler', '10 sync handlers', '10 async handlers'].map((handlers) =>
        ratio('memory', `${handlers}, batches of 1,000`, 0.5),
      ),
      ...['sync', 'async'].map((kind) => ratio('memory', `1 ${kind} handler, one at a time`, 0.2)),
      ratio('memory', '1 async handler, 100 in flight', 0.4),
      ours('memory', 'building and validating an event, vs the zod parse of its payload', { atMost: 700 }),
      ratio('memory', '1 async handler, batches of 1,000', 2, 'emittery'),
      ratio('memory', '10 async handlers, batches of 1,000', 2, 'emittery'),
      ours('memory', '1 sync handler, batches of 1,000', { atLeast: 5_000_000 }),
    ],
  },
  {
    title: 'Catching up from the in-memory store: 0.3 of the speed of a bare loop over the feed',
    goals: ['empty sync handler', 'empty async handler', '16 aggregates concurrently', 'batches of 500'].map(
      (how) => ratio('store', `catch-up, ${how}`, 0.3),
    ),
  },
  {
    title: 'Faster than the peers on the same brokers, publishing and consuming',
    goals: brokers.flatMap((bus) =>
      peers[bus].flatMap((peer) => [ratio(bus, BATCHES_100, 1, peer), ratio(bus, CONSUME, 1, peer)]),
    ),
  },
  {
    title:
      'Memory: no growth over 1,000,000 events (live heap within a tenth, resident memory within a quarter)',
    goals: ['memory', ...brokers].flatMap((bus) => [ratio(bus, LIVE_HEAP, 0.9), ratio(bus, RESIDENT, 0.8)]),
  },
]

/** The row that a goal is about. */
export function rowOfGoal(rows: readonly BenchRow[], { bus, work, peer }: Goal): BenchRow | undefined {
  return rows.find((row) => row.bus === bus && row.work === work && row.peer === peer)
}

export function figureOf({ figure }: Goal, row: BenchRow): number {
  switch (figure) {
    case 'ratio':
      return row.ratio
    case 'ours':
      return row.ours
    case 'difference':
      return row.ours - row.raw
  }
}

export function isHit(goal: Goal, row: BenchRow): boolean {
  const figure = figureOf(goal, row)
  const { atLeast = Number.NEGATIVE_INFINITY, atMost = Number.POSITIVE_INFINITY } = goal
  return figure >= atLeast && figure <= atMost
}
