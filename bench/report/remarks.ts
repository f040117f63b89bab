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
    'The bus is compared with a loop that awaits each handler, and with emitters. EventEmitter and eventemitter3 only call functions: they isolate no failures and await no handlers. In memory there is no order per aggregate and no competing consumer, so there are no rows for either.',
  store:
    'A subscription that catches up with 200,000 events of the in-memory store is compared with a plain `for await` over the feed, which calls no handler and saves no position. The goal was 200,000 events a second with an empty handler.',
  stores:
    'The bare client is `node:sqlite`, or `pg` with plain inserts of the same events into the same tables and indexes, without any guarantee about the order of the feed. In each row about appends, both sides use their own tables. Reads return events as instances of their classes. `8 x 10` means 8 concurrent callers that append 10 events each. Emmett runs on the same server, through its public interface.',
  'stores-large':
    'The table was filled by SQL and never analyzed. The memory is that of a process whose subscription reads all events.',
  redis:
    'The bare client (node-redis) appends the same fields, pipelined. It reads pages of 100, parses each event and acknowledges each page with one XACK; the next read does not wait for the XACK. In the rows about partitions, both sides are the bus: its worker processes share a backlog, and no measurement includes a start. At its start, the bare client creates the group and claims the entries of dead consumers, without which they would be lost.',
  rabbitmq:
    'The bare client (amqplib) publishes persistent, mandatory messages with the same properties, pipelined, and awaits each confirm. It parses each message and acknowledges once per turn of the event loop. The prefetch is 100 unless a row states another. For the backlog, the bare client drains 200,000 messages and the bus 1,000,000. In the rows about partitions, both sides are the bus: its worker processes share a backlog, and no measurement includes a start. At its start, the bare client declares its exchanges, queues and bindings.',
  kafka:
    "Events have eventsource-py's headers. The topic has four partitions, `acks` is `'all'`, and records are not compressed unless a row names a compression. The bus is idempotent. The bare client (@platformatic/kafka) sends a batch in one request, and single events together with others that are waiting. It parses each record and commits in the background, one commit at a time, up to the first unfinished record. Both sides pause while `maxInFlight` records (2,000) are not committed, because a crash would repeat them; before 2026-11-29, the bare client did not.",
  observability:
    'The figures are nanoseconds per event, compared with the same bus without tracing and metrics. In memory, events are published one at a time to one asynchronous handler. The in-memory broker exercises the whole path of a broker bus without a network. Spans are dropped when they end; metrics are not exported.',
  peers:
    'Other libraries run on the same broker in the same run, through their public interface and with acknowledgment. Each handles enough events to measure its rate.',
}

const CAUSATION =
  'The handlers of each event of a batch run in their own AsyncLocalStorage frame, so everything that they publish, however late, has this event as its cause. In the profile the frame takes a quarter of the time, about 35 ns; `propagateCausation: false` avoids it. The bus also checks that brokers would accept the event.'
const DECODING =
  'The bare client only parses JSON. The bus decodes a validated, deeply frozen event, manages the lane, the lease and the causation ids, and updates the counters.'
const KAFKA_PROFILE =
  'Self times of the consuming process: decoding, validating and freezing events 40 %, sockets, buffers and asynchronous context of Node.js 20 %, lanes, handling and settling 16 %, garbage collection 11 %, records and commits 9 %, the client library 2 %.'
const REDIS_PROFILE =
  'Self times of the consuming process: decoding, validating and freezing events 32 %, sockets, buffers and asynchronous context of Node.js 31 %, entries, leases and acknowledgments 13 %, lanes, handling and settling 11 %, the client library 7 %, garbage collection 3 %.'
const HANDLERS =
  'Each handler gets a context of its own and is isolated from the others: 100 handlers take 27 % of the time of the consuming process.'
const RABBITMQ_HANDLERS =
  'Each handler gets a context of its own and is isolated from the others, which takes 14 % of the time of the process.'
const RABBITMQ_WAITS =
  'Both sides wait most of the time, because the broker sends at most the prefetch: the process of the bus uses 0.6 of a processor, that of the bare client 0.3, and the broker 0.9 and 1.1 of two. The rounds of either side differ by a factor of two to three.'
const COLD_LATENCY =
  'In a process that has handled 30,000 events before, the bus adds about 0.09 ms between the call and the write, and as much between the arrival of the bytes and the handler. In these rounds, of 210 events each, most of its code is not compiled yet.'
const TAIL =
  'The highest percentile of 1,000 events is that of one event: the rounds of both sides differ by more than their medians.'
const MEMORY_SINGLES =
  'A publish is a promise, a check of its events, a share of the turn of the event loop, the context that holds the cause of what the handler publishes, and the counters of the handler. In the profile, none of these functions takes more than 8 % of the time. The loop only calls the handler.'
const CATCH_UP =
  'For each event, the bare loop takes it from an array. The subscription starts the handler in a context that holds the cause of what it publishes, awaits it, and moves the position. Self times: awaiting the handlers and noting their outcome 33 %, reading pages 16 %, contexts 8 %, garbage collection 3 %.'
const ASYNC_HANDLERS =
  'Self times: starting the handlers and awaiting their promises 52 %, the contexts that hold the cause of what a handler publishes 10 %, garbage collection 4 %. All handlers of an event run at the same time, and each failure is kept apart; the loop awaits one after another and ends with the first failure.'
const SQLITE_WORKER =
  'The connection is in a worker thread, so that the event loop is free: each append is a message there and back. On the main thread, the row is at the speed of the driver.'
const CONSUMERS =
  'All consumers share one thread, which the bus uses fully with one consumer. The bare client waits for the server with one consumer, and not with two.'
const DEAD_LETTERS =
  'A dead letter has the error, its stack, the handlers and the times, and an error of the handler is a log record. Its lane waits until the broker has confirmed it, because a crash would otherwise redeliver the failed event after later ones. The bare client stores the original only, and its lane goes on. A third of the time is spent in writes to sockets, a twentieth in stacks of errors.'
const RABBITMQ_DEAD_LETTERS =
  'A dead letter has the error, its stack, the handlers and the times, and an error of the handler is a log record. Its lane waits until the broker has confirmed it. The bare client stores the original only, and its lane goes on. Of the time of the process, 17 % are spent in writes to sockets, 8 % in the client library, 4 % in errors and their stacks.'
const RELAY =
  'Self times per event, to Redis from PostgreSQL in batches of 1,000: the process uses 9 µs, and 5 µs for publish alone. Reading the stored text and making an event of it takes 2 µs, writing to the sockets 1.2 µs more. The server of the store needs another 4 µs to read and remove the event, on the two processors that all share.'
const SPANS =
  'An event has two spans. Of the additional time, about two thirds are spent in the packages of OpenTelemetry and in the ids and times that they create, a third in reading the headers, attributes and contexts.'
const START =
  'The bus checks the server and its keys, reads whether the group is paused, announces its event types, joins the members of the group and looks for pending entries before the first read. The bare client creates the group and claims old entries.'

const APPEND =
  'The bare client inserts rows without checking the stream. The store checks the expected version, enters the register of writers and returns the position.'
const READING =
  'The bare client returns text. The store decodes each event, checks its keys and freezes it. A page of 500 takes 1.9 ms decoded, and 0.9 ms as text.'
const PERSISTENT_HEADERS =
  "The broker is the bottleneck: a bare client that sends the same message, with eventsource-py's headers, is no faster."

export const remarks: readonly Remark[] = [
  { bus: 'postgres', work: 'append, 1 x 1', text: APPEND },
  { bus: 'postgres', work: 'append, 1 x 10', text: APPEND },
  { bus: 'postgres', work: 'append, 8 x 1', text: APPEND },
  { bus: 'postgres', work: 'append, 8 x 10', text: APPEND },
  { bus: 'postgres', work: 'append, 8 x 100', text: APPEND },
  {
    bus: 'postgres',
    work: 'feed, as stored text',
    text: 'In a profile, the client waits for the server for two thirds of the time. The server joins the columns of each row to one text, which takes it longer than sending them, because the client needs about as long for one value as for a whole row in this form.',
  },
  { bus: 'postgres', work: 'feed, decoded', peer: 'the bare rows as text', text: READING },
  { bus: 'postgres', work: 'load a stream of 100', text: READING },
  {
    bus: 'postgres',
    work: 'append to handler in another process, p50',
    peer: 'LISTEN and the next rows',
    text: 'Both sides take the same number of hops between processes. The append checks the stream, and the reader reads the end of the feed (0.3 ms), without which it would lose events.',
  },
  { bus: 'memory', work: '1 sync handler, batches of 1,000', text: CAUSATION },
  { bus: 'memory', work: '1 async handler, batches of 1,000', text: CAUSATION },
  {
    bus: 'redis',
    work: 'publish in batches of 1,000',
    text: 'Within measurement noise: some rounds reach the goal and some do not.',
  },
  { bus: 'redis', work: 'consume with acknowledgment', text: `${DECODING} ${REDIS_PROFILE}` },
  {
    bus: 'postgres',
    work: 'append to handler in another process, 8 writers, p50',
    peer: 'LISTEN and the next rows',
    text: 'Eight writers, the server and the reader keep both processors 80 to 95 % busy, so an event waits for its turn on both sides. The append checks the stream and enters the register of writers, and the reader reads the end of the feed before each page.',
  },
  { bus: 'sqlite', work: 'append, 1 event after another', text: SQLITE_WORKER },
  ...['sqlite', 'postgres'].flatMap((bus) =>
    ['redis', 'rabbitmq', 'kafka'].flatMap((broker) =>
      [100, 1000].map((size) => ({
        bus,
        work: `relay of the outbox to ${broker}, batches of ${size}`,
        peer: 'publish in such batches',
        text: RELAY,
      })),
    ),
  ),
  {
    bus: 'sqlite',
    work: 'append, 64 callers',
    text: 'The messages to and from the worker thread take the rest: on the main thread, the row is at its goal.',
  },
  ...[
    '1 sync handler, one at a time',
    '1 async handler, one at a time',
    '1 async handler, 100 in flight',
  ].map((work) => ({ bus: 'memory', work, text: MEMORY_SINGLES })),
  {
    bus: 'memory',
    work: 'building and validating an event, vs the zod parse of its payload',
    text: 'Alone, three times on the same day, 668 to 676 ns.',
  },
  ...['empty async handler', '16 aggregates concurrently'].map((how) => ({
    bus: 'store',
    work: `catch-up, ${how}`,
    text: CATCH_UP,
  })),
  {
    bus: 'redis',
    work: 'publish one at a time',
    text: 'An event takes 0.13 ms, of which both sides wait for the server for a third to a half. The bus adds 0.03 ms: it checks and encodes the event, and starts its deadline.',
  },
  {
    bus: 'redis',
    work: 'publish, 100 in flight',
    text: 'The process of either side uses one processor fully. Self times of the bus: writes to the socket 20 %, deadlines, order and outcomes of the calls 18 %, encoding 16 %, garbage collection 13 %, the client library 10 %. The bare client has no deadline, and its order is not kept after a refusal.',
  },
  {
    bus: 'redis',
    work: 'drain a backlog of 1,000,000',
    text: `${DECODING} For this, the process uses one processor fully, that of the bare client 0.6. One round.`,
  },
  {
    bus: 'rabbitmq',
    work: 'publish one at a time',
    text: 'Both sides wait for the broker: the process of the bus uses 0.23 of a processor, that of the bare client 0.19, and the rounds differ by a tenth.',
  },
  {
    bus: 'rabbitmq',
    work: 'publish, 100 in flight',
    text: 'Within measurement noise: some rounds reach the goal and some do not.',
  },
  {
    bus: 'rabbitmq',
    work: 'drain a backlog of 1,000,000',
    text: `${DECODING} ${RABBITMQ_WAITS} One round; the bare client drains 200,000.`,
  },
  ...['redis', 'kafka'].map((bus) => ({
    bus,
    work: 'publish to handler at 100 events/s, p99.9',
    text: TAIL,
  })),
  { bus: 'memory', work: '10 async handlers, batches of 1,000', text: ASYNC_HANDLERS },
  { bus: 'memory', work: '10 async handlers, batches of 1,000', peer: 'emittery', text: ASYNC_HANDLERS },
  ...['100', '10'].map((prefetch) => ({
    bus: 'rabbitmq',
    work: `consume with acknowledgment, prefetch ${prefetch}`,
    text: `${DECODING} ${RABBITMQ_WAITS}`,
  })),
  ...['1 aggregate', '2 consumers', '4 consumers'].map((part) => ({
    bus: 'rabbitmq',
    work: `consume, ${part}`,
    text: `${DECODING} ${RABBITMQ_WAITS}`,
  })),
  { bus: 'rabbitmq', work: 'consume, 100 handlers', text: `${RABBITMQ_HANDLERS} ${RABBITMQ_WAITS}` },
  ...['1 %', '10 %'].map((share) => ({
    bus: 'rabbitmq',
    work: `consume, ${share} dead-lettered`,
    text: `${RABBITMQ_DEAD_LETTERS} ${RABBITMQ_WAITS}`,
  })),
  ...['redis', 'rabbitmq', 'kafka'].map((bus) => ({
    bus,
    work: 'publish to handler at 100 events/s, p50',
    text: COLD_LATENCY,
  })),
  {
    bus: 'redis',
    work: 'consume, 8 partitions, vs none',
    text: 'The worker needs the same processor time for an event on both sides (profiles). With eight streams it waits longer for the server, which shares the two processors with the worker and the process that counts the events. The rounds differ from 0.43 to 0.81; on a faster machine, the median was 0.91.',
  },
  {
    bus: 'rabbitmq',
    work: 'consume, 8 partitions, 4 processes, vs 1',
    text: 'The handler does nothing, and the broker alone uses one of the two processors: four processes share the other one, and the rounds differ from 0.73 to 1.24. With a handler that takes 5 ms, four processes handle 1.81 times as much as one.',
  },
  {
    bus: 'rabbitmq',
    work: 'resident memory over 1,000,000 events, vs the first 500,000',
    text: 'The live heap does not grow. Resident memory grows once, by the space that V8 reserves for young objects.',
  },
  {
    bus: 'kafka',
    work: 'consume with acknowledgment',
    text: `${DECODING} ${KAFKA_PROFILE}`,
  },
  {
    bus: 'kafka',
    work: 'consume with acknowledgment, maxInFlight 10,000',
    text: `${DECODING} ${KAFKA_PROFILE}`,
  },
  { bus: 'kafka', work: 'consume, 1 aggregate', text: `${DECODING} ${KAFKA_PROFILE}` },
  { bus: 'redis', work: 'consume, 1 aggregate', text: `${DECODING} ${REDIS_PROFILE}` },
  { bus: 'kafka', work: 'consume, 100 handlers', text: HANDLERS },
  { bus: 'redis', work: 'consume, 100 handlers', text: HANDLERS },
  { bus: 'redis', work: 'consume, 2 consumers', text: CONSUMERS },
  { bus: 'redis', work: 'consume, 4 consumers', text: CONSUMERS },
  ...['kafka', 'redis'].flatMap((bus) =>
    ['1 %', '10 %'].map((share) => ({ bus, work: `consume, ${share} dead-lettered`, text: DEAD_LETTERS })),
  ),
  ...['kafka', 'redis', 'rabbitmq'].map((bus) => ({
    bus,
    work: 'consume, tracing with the SDK, vs all off',
    text: SPANS,
  })),
  { bus: 'redis', work: 'start to the first handled event', text: START },
  {
    bus: 'rabbitmq',
    work: 'start to the first handled event',
    text: 'The bus sends 39 requests on its connections, the bare client 9 on one: it also declares the queues for its control messages, waiting events and dead letters, announces its event types and its presence, and notes its bindings. Each declaration of a queue takes the broker 1 to 4 ms.',
  },
  {
    bus: 'kafka',
    work: 'start to the first handled event',
    text: 'The bus waits for the broker for most of the time, as the bare client does. It also checks its topics, reads whether the group is paused, announces its event types and its presence.',
  },
  {
    bus: 'redis',
    work: 'publish in batches of 100',
    peer: 'eventsource-py',
    text: 'The server is the bottleneck: even the fastest form of the bare client is only as fast as the bus, which is four times as fast as eventsource-py.',
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
