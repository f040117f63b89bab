// Explanations of the figures. docs/benchmarks.md is generated from them; edit its text here.

/** Explains the result of a workload. Shown next to its goal, and below the table of its bus. */
export interface Remark {
  readonly bus: string
  /** The workload, by the name in its row. */
  readonly work: string
  readonly peer?: string
  readonly text: string
}

/** What each result compares, by the name of the result. */
export const introductions: Readonly<Record<string, string>> = {
  memory:
    'Compared with a loop that awaits each handler, and with emitters. EventEmitter and eventemitter3 only call functions: they isolate no failures and await no handlers. In memory there is no order per aggregate and no competing consumer, so there are no rows for either.',
  store:
    'Catching up with 200,000 events of the in-memory store, compared with a bare `for await` over the feed, which calls no handler and keeps no position. The goal was 200,000 events a second with an empty handler.',
  stores:
    'The bare client is `node:sqlite`, or `pg` with naive inserts of the same events into the same tables and indexes: it keeps no promise about the order of the feed. Each row about appends has tables of its own on both sides. Events are given as instances of their classes. `8 x 10` means 8 concurrent callers that append 10 events each. Emmett runs on the same server, through its public interface.',
  'stores-large':
    'The table was filled by SQL and never analyzed. The memory is that of a process in which a subscription follows all events.',
  redis:
    'The bare client (node-redis) appends the same fields, pipelined. It reads pages of 100, parses each event and acknowledges each page with one XACK; the next read does not wait for it.',
  rabbitmq:
    'The bare client (amqplib) publishes persistent, mandatory messages with the same properties, pipelined, and awaits each confirm. It parses each message and acknowledges once per turn of the event loop. The prefetch is 100 unless a row states another. For the backlog, the bare client drains 200,000 messages and the bus 1,000,000.',
  kafka:
    "Events have eventsource-py's headers; `acks: 'all'`, four partitions, no compression unless a row names one. The bus is idempotent. The bare client (@platformatic/kafka) sends a batch in one request, and single events together with others that are waiting. It parses each record and commits in the background, one commit at a time, up to the first unfinished record.",
  observability:
    'Nanoseconds per event, compared with the same bus with everything off. In memory, events are published one at a time to one asynchronous handler. The in-memory broker exercises the whole path of a broker bus without a network. Spans are dropped when they end; metrics are not exported.',
  peers:
    'Other libraries on the same broker in the same run, through their public interface and with acknowledgment. Each moves enough events to measure its rate.',
}

const CAUSATION =
  'Each event of a batch runs in its own AsyncLocalStorage frame. Everything that its handler publishes, however late, therefore has this event as its cause. In the profile the frame takes half of the time, about 70 ns; `propagateCausation: false` avoids it.'
const DECODING =
  'The bare client only parses JSON. The bus decodes a validated, deeply frozen event, which takes about 2 µs; parsing is 0.8 µs of that. It also manages lane, lease and cause, and updates the counters. In the profile, no single part exceeds 3 %.'
const PERSISTENT_HEADERS =
  "The broker is the bottleneck: a bare client that sends the same message, with eventsource-py's headers, is no faster."

export const remarks: readonly Remark[] = [
  { bus: 'memory', work: '1 sync handler, batches of 1,000', text: CAUSATION },
  { bus: 'memory', work: '1 async handler, batches of 1,000', text: CAUSATION },
  {
    bus: 'redis',
    work: 'publish in batches of 1,000',
    text: 'Within measurement noise: some rounds reach the goal and some do not.',
  },
  { bus: 'redis', work: 'consume with acknowledgment', text: DECODING },
  { bus: 'rabbitmq', work: 'consume with acknowledgment, prefetch 100', text: DECODING },
  {
    bus: 'rabbitmq',
    work: 'resident memory over 1,000,000 events, vs the first 500,000',
    text: 'The live heap does not grow. Resident memory grows once, by the space that V8 reserves for young objects.',
  },
  {
    bus: 'kafka',
    work: 'consume with acknowledgment',
    text: `${DECODING} The bus also reads ten headers per record. It pauses when \`maxInFlight\` (2,000) events are handled but not committed, because a crash would repeat them. The bare client continues without a limit. A commit takes the broker about 5 ms.`,
  },
  { bus: 'kafka', work: 'consume with acknowledgment, maxInFlight 10,000', text: DECODING },
  {
    bus: 'redis',
    work: 'publish in batches of 100',
    peer: 'eventsource-py',
    text: 'The server is the bottleneck: the bare client in its best form is only as fast as the bus, which is four times as fast as eventsource-py.',
  },
  {
    bus: 'redis',
    work: 'consume with acknowledgment',
    peer: 'eventsource-py',
    text: 'Within measurement noise: some rounds reach the goal and some do not.',
  },
  { bus: 'rabbitmq', work: 'publish in batches of 100', peer: 'eventsource-py', text: PERSISTENT_HEADERS },
  {
    bus: 'rabbitmq',
    work: 'publish in batches of 100',
    peer: 'NestJS',
    text: `${PERSISTENT_HEADERS} NestJS sends no headers, and does not check that a queue receives the message (\`mandatory\`).`,
  },
]
