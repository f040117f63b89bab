import { appendTests } from './append.ts'
import { browsingTests } from './browsing.ts'
import { competitionTests } from './competition.ts'
import { deletionTests } from './deletion.ts'
import { evolutionTests } from './evolution.ts'
import { killTests } from './kills.ts'
import { readTests } from './read.ts'
import {
  type DescribeEventStoreOptions,
  type StoreCapability,
  StoreScene,
  type StoreTest,
} from './store-under-test.ts'
import { transactionTests } from './transactions.ts'

const SUITE: Readonly<Record<string, readonly StoreTest[]>> = {
  append: appendTests,
  read: readTests,
  browsing: browsingTests,
  deletion: deletionTests,
  evolution: evolutionTests,
  competition: competitionTests,
  transactions: transactionTests,
  kills: killTests,
}

/**
 * The conformance suite for event stores: tests every guarantee of `EventStore`. It runs with any runner that has
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
        for (const test of tests) {
          const obstacle = obstacleTo(test, options)
          if (obstacle === undefined) it(test.name, () => runTest(test, options), options.timeoutMs ?? 30_000)
          else it.skip(`${test.name} (${obstacle})`, () => Promise.resolve())
        }
      })
    }
  })
}

/** Why a test cannot run; undefined if it can. */
function obstacleTo({ needs }: StoreTest, options: DescribeEventStoreOptions): string | undefined {
  for (const capability of needs) {
    const reason = options.lacks?.[capability] ?? notGiven(capability, options)
    if (reason !== undefined) return `lacks ${capability}: ${reason}`
  }
  return undefined
}

function notGiven(
  capability: StoreCapability,
  { transaction, startWriter }: DescribeEventStoreOptions,
): string | undefined {
  if (capability === 'writerProcesses')
    return startWriter === undefined ? 'startWriter is not given' : undefined
  return transaction === undefined ? 'transaction is not given' : undefined
}

async function runTest(test: StoreTest, options: DescribeEventStoreOptions): Promise<void> {
  const scene = await StoreScene.open(options)
  try {
    await test.run(scene)
  } finally {
    await scene.end()
  }
}
