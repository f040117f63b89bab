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
const BOTH_WAYS = 'publish in batches of 1,000 and consume concurrently'
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

export const goalGroups: readonly GoalGroup[] = [
  {
    title: 'Publishing in batches, every broker: at least 0.9 of the speed of the bare client',
    goals: brokers.flatMap((bus) => [ratio(bus, BATCHES_100, 0.9), ratio(bus, BATCHES_1000, 0.9)]),
  },
  {
    title:
      'Consuming with acknowledgment, every broker: at least 0.9 of the speed of the bare client in its fastest form',
    goals: brokers.flatMap((bus) => consumeWorks[bus].map((work) => ratio(bus, work, 0.9))),
  },
  {
    title: 'Publish to handler, p50: within 0.15 ms of the bare client; under 1 ms on Redis and RabbitMQ',
    goals: [
      ...brokers.map((bus): Goal => ({ bus, work: LATENCY, figure: 'difference', atMost: 0.15 })),
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
      'In memory: at least 0.5 of the speed of a plain loop with await, at least 2 times emittery (async); 5,000,000 events a second in batches to one sync handler',
    goals: [
      ...['1 sync handler', '1 async handler', '10 sync handlers', '10 async handlers'].map((handlers) =>
        ratio('memory', `${handlers}, batches of 1,000`, 0.5),
      ),
      ratio('memory', '1 async handler, batches of 1,000', 2, 'emittery'),
      ratio('memory', '10 async handlers, batches of 1,000', 2, 'emittery'),
      ours('memory', '1 sync handler, batches of 1,000', { atLeast: 5_000_000 }),
    ],
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
