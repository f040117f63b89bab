import { expect, it } from 'vitest'
import type { Breakage } from '../torture/broken-transport.ts'
import type { FaultName } from '../torture/faults.ts'
import type { RuleName } from '../torture/judge.ts'
import type { Tampering } from '../torture/tampered-client.ts'
import { torture } from '../torture/torture.ts'

const KILL: readonly FaultName[] = ['consumerKilledBeforeAck']
const NOTHING: readonly FaultName[] = ['deadLettersReplayed']

/** This test proves that the check can fail. */
it.each<[Breakage, RuleName, RegExp, readonly FaultName[]]>([
  ['acksTooEarly', 'lost', /never reached/, KILL],
  ['dropsLane', 'lost', /never reached/, NOTHING],
  ['claimsToPublish', 'lost', /never reached/, NOTHING],
  ['forgetsOrder', 'order', /overtook|first handled after/, NOTHING],
  ['deliversTwice', 'duplicate', /without a fault/, NOTHING],
  ['keepsUnsettled', 'conduct', /the broker still has/, NOTHING],
  ['leavesTimer', 'conduct', /Timeout open after the shutdown/, NOTHING],
])('the torture fails a transport that %s: %s', async (breakage, rule, words, faults) => {
  const { violations, report } = await torture({
    kind: 'redis',
    seconds: 4,
    seed: 7,
    faults,
    breakage,
    settleMs: 3000,
  })

  const found = violations.filter((violation) => violation.rule === rule)
  expect(found.map(({ message }) => message)).toContainEqual(expect.stringMatching(words))
  expect(report).toContain('seed 7')
})

it.each<[Tampering, RuleName, RegExp, readonly FaultName[]]>([
  ['takeoverFromNew', 'lost', /never reached/, KILL],
  [
    'leaseWithoutFence',
    'order',
    /overtook|first handled after/,
    // One of five consumers is alone in its group, so that freezing it shows nothing.
    Array.from({ length: 3 }, () => 'consumerFrozenBeyondLease' as const),
  ],
])('the torture fails partitions with a %s: %s', async (breakage, rule, words, faults) => {
  const { violations } = await torture({
    kind: 'redis',
    seconds: 4,
    seed: 7,
    partitions: 4,
    leastFaults: faults.length,
    // With few aggregates, the next event of each is there while one is handled, so consumers that compete overtake each other.
    aggregates: 4,
    pauseMs: [300, 1000],
    faults,
    breakage,
    settleMs: 3000,
  })

  const found = violations.filter((violation) => violation.rule === rule)
  expect(found.map(({ message }) => message)).toContainEqual(expect.stringMatching(words))
})
