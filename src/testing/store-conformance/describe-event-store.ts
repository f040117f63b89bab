import { appendTests } from './append.ts'
import { competitionTests } from './competition.ts'
import { readTests } from './read.ts'
import { type DescribeEventStoreOptions, StoreScene, type StoreTest } from './store-under-test.ts'

const SUITE: Readonly<Record<string, readonly StoreTest[]>> = {
  append: appendTests,
  read: readTests,
  competition: competitionTests,
}

/**
 * The conformance suite for event stores: tests every guarantee of {@link EventStore}. It runs with any runner that has
 * `describe` and `it`, and uses node:assert.
 *
 * @example
 * import { describe, it } from 'vitest'
 *
 * describeEventStore('my store', { runner: { describe, it }, create: () => new MyEventStore() })
 */
export function describeEventStore(name: string, options: DescribeEventStoreOptions): void {
  const { describe, it } = options.runner
  describe(name, () => {
    for (const [topic, tests] of Object.entries(SUITE)) {
      describe(topic, () => {
        for (const test of tests) it(test.name, () => runTest(test, options), options.timeoutMs ?? 30_000)
      })
    }
  })
}

async function runTest(test: StoreTest, options: DescribeEventStoreOptions): Promise<void> {
  const scene = await StoreScene.open(options)
  try {
    await test.run(scene)
  } finally {
    await scene.end()
  }
}
