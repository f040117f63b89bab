import type { Stores } from '../../subscriptions/index.ts'
import { checkpointTests } from './checkpoints.ts'
import { describeEventStore } from './describe-event-store.ts'
import { evolvedSubscriptionTests } from './evolved-subscriptions.ts'
import { inboxTests } from './inbox.ts'
import { type DescribeInboxOptions, describeInboxTests } from './inbox-under-test.ts'
import { leaseTests } from './leases.ts'
import { outboxTests } from './outbox.ts'
import { parkedEventTests } from './parked-events.ts'
import { projectionTests } from './projections.ts'
import { inlineProjectionTests, rebuiltProjectionTests } from './rebuilt-projections.ts'
import { snapshotTests } from './snapshots.ts'
import { storesInboxTests } from './stores-inbox.ts'
import {
  type DescribeStoresOptions,
  describeTopic,
  StoresOpener,
  type StoresTest,
} from './stores-under-test.ts'
import { unitTests } from './units.ts'

const SUITE: Readonly<Record<string, readonly StoresTest[]>> = {
  snapshots: snapshotTests,
  checkpoints: checkpointTests,
  leases: leaseTests,
  'parked events': parkedEventTests,
  'units of work': unitTests,
  'evolved events': evolvedSubscriptionTests,
  inbox: storesInboxTests,
  outbox: outboxTests,
  projections: [...projectionTests, ...rebuiltProjectionTests, ...inlineProjectionTests],
}

/**
 * The conformance suite for all stores of a backend: tests the event store, snapshots, checkpoints, leases and parked
 * events, each on its own and together in one transaction.
 *
 * @example
 * describeStores('my stores', {
 *   runner: { describe, it },
 *   create: (eventClasses) => new MyStores({ database: freshDatabase(), events: eventClasses }),
 *   another: (stores) => new MyStores({ database: stores.database }),
 * })
 */
export function describeStores<S extends Stores>(name: string, options: DescribeStoresOptions<S>): void {
  const { runner, lacks, writers, startWriter, timeoutMs = 30_000 } = options
  const { describe } = runner
  const opener = new StoresOpener(options)
  describe(name, () => {
    describeEventStore('events', {
      runner,
      create: async () => (await opener.create()).events,
      another: async (events) => (await opener.another(opener.ownerOf(events)))?.events ?? events,
      transaction: (events, work) => opener.ownerOf(events).transaction((tx) => work(tx.events)),
      ...(startWriter !== undefined && { startWriter: (events) => startWriter(opener.ownerOf(events)) }),
      close: (events) => opener.close(opener.ownerOf(events)),
      ...(lacks !== undefined && { lacks }),
      ...(writers !== undefined && { writers }),
      timeoutMs,
    })
    for (const [topic, tests] of Object.entries(SUITE)) describeTopic(topic, tests, opener, options)
  })
}

/**
 * The part of {@link describeStores} for the inbox: one transaction commits the record and the writes of a handler, and
 * each event has its effect once. With `createInbox`, it tests an inbox without stores around it. With `create`, the
 * tests count effects in the event store of the stores, and also test the removal of records and the outbox.
 *
 * @example
 * describeInbox('my inbox', { runner: { describe, it }, create: () => new MyStores({ database: freshDatabase() }) })
 */
export function describeInbox<S extends Stores>(name: string, options: DescribeStoresOptions<S>): void
export function describeInbox<Tx>(name: string, options: DescribeInboxOptions<Tx>): void
export function describeInbox<S extends Stores, Tx>(
  name: string,
  options: DescribeStoresOptions<S> | DescribeInboxOptions<Tx>,
): void {
  if ('createInbox' in options) describeInboxTests(name, inboxTests, options)
  else describeTopic(name, storesInboxTests, new StoresOpener(options), options)
}

/**
 * The part of {@link describeStores} for the outbox and its relay: committed events are published at least once and in
 * order, other events never, and published events are removed.
 *
 * @example
 * describeOutbox('my outbox', {
 *   runner: { describe, it },
 *   create: () => new MyStores({ database: freshDatabase() }),
 *   startRelay: (outbox, bus, name) => new MyRelay(outbox, bus, name),
 * })
 */
export function describeOutbox<S extends Stores>(name: string, options: DescribeStoresOptions<S>): void {
  describeTopic(name, outboxTests, new StoresOpener(options), options)
}
