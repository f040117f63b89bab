import { ConfigError } from '../../index.ts'
import { broadcastTests } from './broadcasts.ts'
import { browsingTests } from './browsing.ts'
import { bulkLetterTests } from './bulk-letters.ts'
import type { DescribeEventBusOptions } from './bus-under-test.ts'
import { CAPABILITIES, type Capability } from './capabilities.ts'
import type { ConformanceTest } from './conformance-test.ts'
import { deadLetterTests } from './dead-letters.ts'
import { deliveryTests } from './delivery.ts'
import { evolutionTests } from './evolution.ts'
import { explainingTests } from './explaining.ts'
import { groupTests } from './groups.ts'
import { handoverTests } from './handovers.ts'
import { identityTests } from './identity.ts'
import { isolationTests } from './isolation.ts'
import { lifecycleTests } from './lifecycle.ts'
import { limitTests } from './limits.ts'
import { middlewareTests } from './middleware.ts'
import { orderTests } from './order.ts'
import { outageTests } from './outages.ts'
import { handlerOutageTests } from './outages-of-handlers.ts'
import { parkingTests } from './parking.ts'
import { pauseTests } from './pauses.ts'
import { poisonTests } from './poison.ts'
import { policyTests } from './policies.ts'
import { presenceTests } from './presence.ts'
import { processTests } from './processes.ts'
import { publishTests } from './publish.ts'
import { redeliveryTests } from './redelivery.ts'
import { replayedLetterTests } from './replayed-letters.ts'
import { replayTests } from './replays.ts'
import { rolloutTests } from './rollouts.ts'
import { DEFAULT_WAIT_MS, Scene } from './scene.ts'
import { seekTests } from './seeks.ts'
import { sharedOrderTests } from './shared-order.ts'
import { stoppingTests } from './stopping.ts'
import { mixedVersionTests, versionTests } from './versions.ts'
import { waitTests } from './waits.ts'

/**
 * The runner's limit for a test, in times of `waitMs`. Each wait of a test has its own deadline and reports what it
 * waited for. The runner's limit is for a test that hangs elsewhere, and leaves time for faults such as the restart of
 * a broker: a test that the runner gives up does not start the broker again for the next one.
 */
const LIMIT_WAITS = 20

const SUITE: Readonly<Record<string, readonly ConformanceTest[]>> = {
  publish: publishTests,
  delivery: deliveryTests,
  isolation: isolationTests,
  identity: identityTests,
  policies: policyTests,
  limits: limitTests,
  waits: waitTests,
  parking: parkingTests,
  'outages of handlers': handlerOutageTests,
  middleware: middlewareTests,
  order: [...orderTests, ...sharedOrderTests],
  'dead letters': [...deadLetterTests, ...replayedLetterTests],
  replays: replayTests,
  'dead letters in bulk': bulkLetterTests,
  poison: poisonTests,
  groups: groupTests,
  pauses: pauseTests,
  presence: presenceTests,
  seeks: seekTests,
  browsing: browsingTests,
  explaining: explainingTests,
  broadcast: broadcastTests,
  evolution: [...evolutionTests, ...versionTests],
  redelivery: redeliveryTests,
  lifecycle: [...lifecycleTests, ...stoppingTests],
  outages: outageTests,
  processes: processTests,
  'rolling deploys': [...rolloutTests, ...handoverTests, ...mixedVersionTests],
}

/**
 * The conformance suite for event buses: tests every guarantee of an event bus. It runs with any runner that has
 * `describe` and `it`, and uses node:assert.
 *
 * @throws ConfigError if `lacks` names an unknown capability.
 * @example
 * import { describe, it } from 'vitest'
 *
 * describeEventBus('my bus', {
 *   runner: { describe, it },
 *   create: ({ scope, ...options }) => new MyEventBus({ prefix: scope, ...options }),
 *   lacks: { history: 'a queue is bound when its group first consumes' },
 * })
 */
export function describeEventBus(name: string, options: DescribeEventBusOptions): void {
  const lacks = knownLacks(options)
  const { describe, it } = options.runner
  const limitMs = LIMIT_WAITS * (options.waitMs ?? DEFAULT_WAIT_MS)
  describe(name, () => {
    for (const [topic, tests] of Object.entries(SUITE)) {
      describe(topic, () => {
        for (const test of tests) {
          const obstacle = obstacleTo(test, options, lacks)
          if (obstacle === undefined) it(test.name, () => runTest(test, options), limitMs)
          else it.skip(`${test.name} (${obstacle})`, () => Promise.resolve())
        }
      })
    }
  })
}

async function runTest(test: ConformanceTest, options: DescribeEventBusOptions): Promise<void> {
  const scene = new Scene(options)
  try {
    await test.run(scene)
  } finally {
    await scene.end()
  }
}

function knownLacks({ lacks = {} }: DescribeEventBusOptions): ReadonlyMap<Capability, string> {
  const entries = Object.entries(lacks)
  const faults = entries.flatMap(([name, reason]) => {
    if (!Object.hasOwn(CAPABILITIES, name)) {
      return [`${name} is not a capability (there are: ${Object.keys(CAPABILITIES).join(', ')})`]
    }
    return typeof reason === 'string' && reason !== '' ? [] : [`${name} is lacked without a reason`]
  })
  if (faults.length > 0) throw new ConfigError('describeEventBus', faults)
  // Each name was checked above.
  return new Map(entries as [Capability, string][])
}

/** Why a test cannot run; undefined if it can. */
function obstacleTo(
  test: ConformanceTest,
  { faults = {}, module }: DescribeEventBusOptions,
  lacks: ReadonlyMap<Capability, string>,
): string | undefined {
  for (const capability of test.needs) {
    const reason = lacks.get(capability)
    if (reason !== undefined) return `lacks ${capability}: ${reason}`
  }
  const missing = test.faults.find((name) => faults[name] === undefined)
  if (missing !== undefined) return `needs faults.${missing}`
  return test.needsModule && module === undefined ? 'needs module' : undefined
}
