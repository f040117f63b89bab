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

export const remarks: readonly Remark[] = []
