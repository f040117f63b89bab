import type { Stores } from '../../subscriptions/index.ts'
import { checkpointTests } from './checkpoints.ts'
import { describeEventStore } from './describe-event-store.ts'
import { leaseTests } from './leases.ts'
import { parkedEventTests } from './parked-events.ts'
import { snapshotTests } from './snapshots.ts'
import { type DescribeStoresOptions, StoresOpener, type StoresTest } from './stores-under-test.ts'
import { unitTests } from './units.ts'

const SUITE: Readonly<Record<string, readonly StoresTest[]>> = {
  snapshots: snapshotTests,
  checkpoints: checkpointTests,
  leases: leaseTests,
  'parked events': parkedEventTests,
  'units of work': unitTests,
}

/**
 * The conformance suite for all stores of a backend: tests the event store, snapshots, checkpoints, leases and parked
 * events, each alone and in one transaction.
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
  const { describe, it } = runner
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
    for (const [topic, tests] of Object.entries(SUITE)) {
      describe(topic, () => {
        for (const test of tests) it(test.name, () => runTest(test, opener), timeoutMs)
      })
    }
  })
}

async function runTest<S extends Stores>(test: StoresTest, opener: StoresOpener<S>): Promise<void> {
  const stores = await opener.create()
  try {
    const another = await opener.another(stores)
    try {
      await test.run({ stores, other: another ?? stores })
    } finally {
      if (another !== undefined) await opener.close(another)
    }
  } finally {
    await opener.close(stores)
  }
}
