import { expect, it } from 'vitest'
import type { Breakage } from '../torture/broken-transport.ts'
import type { FaultName } from '../torture/faults.ts'
import type { RuleName } from '../torture/judge.ts'
import { torture } from '../torture/torture.ts'

const KILL: readonly FaultName[] = ['consumerKilledBeforeAck']
const NOTHING: readonly FaultName[] = ['deadLettersReplayed']

/** A check that cannot fail proves nothing. */
it.each<[Breakage, RuleName, readonly FaultName[]]>([
  ['acksTooEarly', 'lost', KILL],
  ['dropsLane', 'lost', NOTHING],
  ['claimsToPublish', 'lost', NOTHING],
  ['forgetsOrder', 'order', NOTHING],
  ['deliversTwice', 'duplicate', NOTHING],
  ['keepsUnsettled', 'conduct', NOTHING],
  ['leavesTimer', 'conduct', NOTHING],
])(
  'the torture fails a transport that %s: %s',
  async (breakage, rule, faults) => {
    const { violations, report } = await torture({
      kind: 'redis',
      seconds: 4,
      seed: 7,
      faults,
      breakage,
      settleMs: 3000,
    })

    expect(violations.map((violation) => violation.rule)).toContain(rule)
    expect(report).toContain('seed 7')
  },
  120_000,
)
