import { Chronicle } from './chronicle.ts'
import type { Fact } from './history.ts'
import { attemptsWithinPolicy, countersAgree, duplicatesOnlyAtFaults, processesEnd } from './judge-conduct.ts'
import { nothingInvented, nothingLost, orderKept } from './judge-delivery.ts'
import { nothingLeftBehind } from './judge-end.ts'
import { recoveredInTime } from './judge-recovery.ts'

/** What a consumer group promises. */
export interface GroupRules {
  readonly name: string
  readonly handlers: readonly string[]
  /**
   * `'group'`: order per aggregate holds whoever handles it. `'consumer'`: consumers of the group compete, as on Redis
   * and RabbitMQ, so that it holds within each of them while nothing changes hands.
   */
  readonly order: 'group' | 'consumer'
}

export interface JudgeOptions {
  readonly groups: readonly GroupRules[]
  /** Attempts at one event before it is given up. */
  readonly maxAttempts: number
  readonly maxInFlight: number
  /** Longest time between the end of a handler and the broker's knowledge of it, in milliseconds. */
  readonly ackMs: number
  /**
   * How long what a lost consumer might have begun may stay its own, in milliseconds. On Kafka its range of the log runs
   * on until its partitions are somebody else's, so that an event published meanwhile may lie in it.
   */
  readonly takeoverMs: number
  /** Longest time after a fault until a group handles and a producer publishes again, in milliseconds. */
  readonly recoveryMs: number
  /** Longest time that a living process may handle nothing under load, in milliseconds; once more for each fault. */
  readonly silenceMs: number
  /** What the memory of a process may grow by, in bytes. */
  readonly heapGrowthBytes: number
}

export type RuleName = 'lost' | 'invented' | 'order' | 'duplicate' | 'attempts' | 'recovery' | 'conduct'

export interface Finding {
  readonly rule: RuleName
  readonly message: string
  /** The event whose story belongs to it. */
  readonly event?: string
}

export interface Violation extends Finding {
  /** The whole story of the event. */
  readonly story: readonly string[]
}

export type Rule = (chronicle: Chronicle, options: JudgeOptions) => readonly Finding[]

const RULES: readonly Rule[] = [
  nothingLost,
  nothingInvented,
  orderKept,
  duplicatesOnlyAtFaults,
  attemptsWithinPolicy,
  recoveredInTime,
  countersAgree,
  processesEnd,
  nothingLeftBehind,
]

/** Says what in a history should not have happened. It looks at nothing else, so it can be tested by itself. */
export function judge(facts: readonly Fact[], options: JudgeOptions): readonly Violation[] {
  const chronicle = new Chronicle(facts)
  return RULES.flatMap((rule) => rule(chronicle, options)).map((finding) => ({
    ...finding,
    story: finding.event === undefined ? [] : chronicle.storyOf(finding.event),
  }))
}

/** Few violations tell as much as thousands: the first of each rule, and how many there are. */
export function report(violations: readonly Violation[], storiesPerRule = 3): string {
  const byRule = [...Map.groupBy(violations, ({ rule }) => rule)]
  return byRule
    .map(([rule, ofRule]) => {
      const shown = ofRule
        .slice(0, storiesPerRule)
        .map(({ message, story }) => [message, ...story].join('\n    '))
      return `${rule}: ${ofRule.length}\n  ${shown.join('\n  ')}`
    })
    .join('\n')
}
