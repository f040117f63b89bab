import type { SuiteTests } from './variant-suite.ts'

/** The bus decides these before a message reaches the transport, or after it has left it. */
const BUS_ALONE = {
  publish: [
    'refuses events that no consumer could decode, and publishes none of their call',
    'treats an empty array as a no-op',
    'rejects a value that is not an event, and publishes nothing of that call',
    'rejects with BusClosedError after shutdown',
    'returns at once from a background publish',
    'limits the number of background publishes in flight',
    'counts published events, and records the time of the last one',
  ],
  delivery: [
    'delivers to each handler the types that it subscribed to',
    'calls a handler once for each of its subscriptions',
    'delivers no event to a handler that was unsubscribed',
    'respects a handler that declines an event',
    'lets a handler publish, subscribe and unsubscribe',
    'delivers an event of an unknown type to a wildcard handler as a GenericEvent',
  ],
  isolation: [
    'runs all handlers even if one fails',
    'survives any value that a handler throws',
    'runs the handlers of one event concurrently',
    'aborts the signal of a handler that takes too long, and counts it as failed',
    'runs a retry only for the handlers that have not succeeded',
    'gives up after exactly 1 + maxRetries attempts, with growing delays',
    'makes one attempt if there are no retries',
    'retries a handler that timed out',
  ],
  poison: [
    ...[
      'bytes that are not JSON',
      'an empty body',
      'bytes that are not UTF-8',
      'JSON that is not an object',
      'an object that is not an event',
      'a payload that fails its schema',
      'a missing event id',
      'an invalid time',
      'an invalid version',
      'an aggregate id that is too long',
      'an oversize body',
      'a body too deep to walk',
      'more values than a message may have',
      'more fields than a message may have',
      'a field that would change prototypes',
      'a type that differs from the header',
    ].map((fault) => `keeps as a dead letter, at once and bit for bit: ${fault}`),
    'treats malformed headers as data',
    'ignores headers of a producer about handlers and attempts',
    'keeps as a dead letter a message whose header names a type without handlers and whose body another type',
    'skips a type without a subscription without decoding it',
    'drops poison messages with a log line if the dead letter queue is off',
  ],
  evolution: 'all',
  // An instance has a classic queue in both variants, and no group.
  broadcast: 'all',
  lifecycle: [
    'shuts down inside a handler of another bus that its own handler waits for',
    'refuses to wait for the end of consuming inside its own handler',
    'shuts down with `await using`',
    'can be shut down before its first use',
    'shows no secret in util.inspect',
  ],
  // The broker is away during the whole test: no queue is used, and no group joined.
  outages: [
    'logs and counts a background publish that failed',
    'waits in the background for a broker that is not running yet',
    'reports a failed connection without showing a secret',
    'shuts down in time while it connects for the first time',
  ],
} as const satisfies SuiteTests

/** Both types of queue are declared, filled, consumed and settled by the same commands over the same connection. */
export const SAME_ON_BOTH_QUEUES: SuiteTests = {
  ...BUS_ALONE,
  // No queue can be searched for an event, whatever its type.
  explaining: 'all',
  processes: ['lets the process exit after a shutdown', 'lets a process that only published exit'],
}

/** Both group protocols differ in how a member joins, gets partitions and loses them. They share the producer, the fetcher and the dead letters. */
export const SAME_IN_BOTH_PROTOCOLS: SuiteTests = {
  ...BUS_ALONE,
  publish: [
    ...BUS_ALONE.publish,
    'delivers an event to its handler unchanged',
    'keeps the order of the events of one call',
    'connects when it is first used',
    'keeps the order of consecutive publishes',
    'finishes background publishes before a shutdown ends',
  ],
  poison: [...BUS_ALONE.poison, 'keeps as a dead letter a message whose ordering key is too long'],
  'dead letters': 'all',
  explaining: [
    'explains when and where an event was published, and what it caused',
    'explains that a dead letter was replayed, and is handled again',
  ],
  outages: [
    ...BUS_ALONE.outages,
    'rejects a publish at its deadline if the broker stays unreachable, with the outcome of each event',
    'reports when it is unknown whether an event was stored',
  ],
  processes: ['lets a process that only published exit'],
  'rolling deploys': [
    'keeps what an older release cannot read for the newer one',
    'skips at once what only this consumer handled, after it has unsubscribed',
    'keeps nothing for other members if it is told not to',
    'dead-letters events without a handler if it is to, for handlers that come later',
  ],
}
