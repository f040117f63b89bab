import { expect, it } from 'vitest'
import type { RuleName } from '../../src/verify/rules.ts'
import type { Breakage } from '../torture/broken-transport.ts'
import { untilFound } from '../torture/planted-fault.ts'
import type { Tampering } from '../torture/tampered-client.ts'
import { type TortureOptions, torture } from '../torture/torture.ts'
import type { FaultName } from '../torture/torture-faults.ts'

const KILL: readonly FaultName[] = ['consumerKilledBeforeAck']
/** One of five consumers is alone in its group, so that killing or freezing it shows nothing. */
const threeTimes = (fault: FaultName): readonly FaultName[] => [fault, fault, fault]
const NOTHING: readonly FaultName[] = ['deadLettersReplayed']

/** @returns the messages of the rule's violations, and the report with the seed of its run. */
async function found(
  options: Omit<TortureOptions, 'kind' | 'seconds' | 'seed'>,
  rule: RuleName,
  words: RegExp,
) {
  const run = async (seed: number) => {
    const { violations, report } = await torture({
      ...options,
      kind: 'redis',
      seconds: 4,
      seed,
      settleMs: 3000,
    })
    const messages = violations.filter((violation) => violation.rule === rule).map(({ message }) => message)
    return { messages, namesSeed: report.includes(`seed ${seed}`) }
  }
  return untilFound(run, ({ messages }) => messages.some((message) => words.test(message)))
}

type Case<Fault> = readonly [Fault, RuleName, RegExp, readonly FaultName[]]

/** If not set, one broken transport for each rule: `npm run test:torture`. `test/torture/judge.test.ts` tests all rules. */
const runsAll = process.env['EVENTSPINE_TORTURE'] === 'all'

const breakages: readonly Case<Breakage>[] = [
  ['dropsLane', 'lost', /never reached/, NOTHING],
  ['forgetsOrder', 'order', /overtook|first handled after/, NOTHING],
  ['deliversTwice', 'duplicate', /without a fault/, NOTHING],
  ['keepsUnsettled', 'conduct', /the broker still has/, NOTHING],
]
const moreBreakages: readonly Case<Breakage>[] = [
  ['acksTooEarly', 'lost', /never reached/, KILL],
  ['claimsToPublish', 'lost', /never reached/, NOTHING],
  ['leavesTimer', 'conduct', /Timeout open after the shutdown/, NOTHING],
]
const tamperings: readonly Case<Tampering>[] = [['keepsPartitions', 'share', /was idle for/, NOTHING]]
const moreTamperings: readonly Case<Tampering>[] = [
  ['takeoverFromNew', 'lost', /never reached/, threeTimes('consumerKilledBeforeAck')],
  ['leaseWithoutFence', 'order', /overtook|first handled after/, threeTimes('consumerFrozenBeyondLease')],
]

/** This test proves that the check can fail. */
it.each([...breakages, ...(runsAll ? moreBreakages : [])])(
  'the torture fails a transport that %s: %s',
  async (breakage, rule, words, faults) => {
    const { messages, namesSeed } = await found({ faults, breakage }, rule, words)

    expect(messages).toContainEqual(expect.stringMatching(words))
    expect(namesSeed).toBe(true)
  },
)

it.each([...tamperings, ...(runsAll ? moreTamperings : [])])(
  'the torture fails partitions with a %s: %s',
  async (breakage, rule, words, faults) => {
    const { messages } = await found(
      {
        partitions: 4,
        leastFaults: faults.length,
        // With few aggregates, the next event of each is there while one is handled, so consumers that compete overtake each other.
        aggregates: 4,
        pauseMs: [300, 1000],
        faults,
        breakage,
      },
      rule,
      words,
    )

    expect(messages).toContainEqual(expect.stringMatching(words))
  },
)
