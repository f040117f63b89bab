// What the figures do not say by themselves. docs/benchmarks.md is generated; words about it belong here.

/** Why a work comes out as it does. Shown beside its goal, and below the table of its bus. */
export interface Remark {
  readonly bus: string
  /** A work of that bus, as its row names it. */
  readonly work: string
  readonly peer?: string
  readonly text: string
}

/** What is compared with what, by the name of the result. */
export const introductions: Readonly<Record<string, string>> = {
  memory:
    'Beside a loop that awaits each handler, and beside emitters. EventEmitter and eventemitter3 call functions and do nothing else: they isolate no failure and await nobody. Events in memory have no aggregates to keep in order and no consumers to share them, so there are no rows for those.',
  store:
    'Catching up with 200,000 events of the store in memory, beside a bare `for await` over the feed, which hands nothing to anybody and keeps no position. The goal was 200,000 events a second with an empty handler.',
  redis:
    'The bare client (node-redis) appends pipelined with the same fields; it reads pages of 100, parses each event and acknowledges a page with one XACK that the next read does not wait for.',
  rabbitmq:
    'The bare client (amqplib) publishes persistent, mandatory messages with the same properties, pipelined, and awaits each confirm; it parses each message and acknowledges once per turn. Prefetch 100 unless a row says otherwise. The bare client drains 200,000 where ours drains 1,000,000.',
  kafka:
    "Events with eventsource-py's headers, `acks: 'all'`, four partitions, no compression unless a row names one; ours idempotent. The bare client (@platformatic/kafka) sends whole batches in one request and single events with those that wait beside them; it parses each record and commits in the background, one commit at a time, only what is finished without a gap.",
  observability:
    'Nanoseconds per event, beside the same bus with everything off. In memory events are published one at a time to one asynchronous handler; the broker in memory has the whole path of a broker bus and no network. Spans are dropped when they end, metrics are not exported.',
  peers:
    'Other libraries on the same broker in the same run, through their public interface and with acknowledgment. Each moves as many events as it takes to measure its rate.',
}

const CAUSATION =
  'Each event of a batch gets a frame of AsyncLocalStorage, so that what its handler publishes, however late, has it as its cause. In the profile that is half of the time, some 70 ns; `propagateCausation: false` saves it.'
const DECODING =
  'The bare client parses JSON. The bus decodes into a checked, deeply frozen event (some 2 µs, of which parsing is 0.8), holds it under a lane, a lease and a cause, and keeps the counts; in the profile no single part of that is above 3 %.'
const PERSISTENT_HEADERS =
  "The broker is the limit: the bare client that sends the same message, with eventsource-py's headers, is no faster."

export const remarks: readonly Remark[] = [
  { bus: 'memory', work: '1 sync handler, batches of 1,000', text: CAUSATION },
  { bus: 'memory', work: '1 async handler, batches of 1,000', text: CAUSATION },
  {
    bus: 'redis',
    work: 'publish in batches of 1,000',
    text: 'Within the noise of its goal: the rounds lie on both sides of it.',
  },
  { bus: 'redis', work: 'consume with acknowledgment', text: DECODING },
  { bus: 'rabbitmq', work: 'consume with acknowledgment, prefetch 100', text: DECODING },
  {
    bus: 'rabbitmq',
    work: 'resident memory over 1,000,000 events, beside the first 500,000',
    text: 'The live heap stays where it was; what grows is the room that V8 keeps for young objects, once.',
  },
  {
    bus: 'kafka',
    work: 'consume with acknowledgment',
    text: `${DECODING} Ten headers of each record are read beside it. And the bus holds back when \`maxInFlight\` (2,000) events are handled and not committed, as so many may come again after a crash, where the bare client goes on however many there are: a commit takes the broker some 5 ms.`,
  },
  { bus: 'kafka', work: 'consume with acknowledgment, maxInFlight 10,000', text: DECODING },
  {
    bus: 'redis',
    work: 'publish in batches of 100',
    peer: 'eventsource-py',
    text: 'The server is the limit: the bare client in its best form is as fast as ours, and four times eventsource-py too.',
  },
  {
    bus: 'redis',
    work: 'consume with acknowledgment',
    peer: 'eventsource-py',
    text: 'On both sides of its goal from round to round.',
  },
  { bus: 'rabbitmq', work: 'publish in batches of 100', peer: 'eventsource-py', text: PERSISTENT_HEADERS },
  {
    bus: 'rabbitmq',
    work: 'publish in batches of 100',
    peer: 'NestJS',
    text: `${PERSISTENT_HEADERS} NestJS sends no headers, and does not ask whether a queue takes the message (\`mandatory\`).`,
  },
]
