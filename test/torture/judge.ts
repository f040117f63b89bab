import { Chronicle } from './chronicle.ts'
import type { Fact } from './history.ts'
import { attemptsWithinPolicy, countersAgree, duplicatesOnlyAtFaults, processesEnd } from './judge-conduct.ts'
import { nothingInvented, nothingLost, orderKept } from './judge-delivery.ts'
import { nothingLeftBehind } from './judge-end.ts'
import { recoveredInTime } from './judge-recovery.ts'
import { sharesAreEven } from './judge-shares.ts'

/** The promises of a consumer group. */
export interface GroupRules {
  readonly name: string
  readonly handlers: readonly string[]
  /**
   * `'group'`: order per aggregate holds across the consumers of the group. `'consumer'`: consumers compete, as on Redis and
   * RabbitMQ, so that order holds within each consumer until another takes messages over.
   */
  readonly order: 'group' | 'consumer'
}

export interface JudgeOptions {
  readonly groups: readonly GroupRules[]
  /** Number of attempts before an event is dead-lettered. */
  readonly maxAttempts: number
  readonly maxInFlight: number
  /** Maximum time from the end of a handler until the broker knows of it, in milliseconds. */
  readonly ackMs: number
  /**
   * How long messages that a lost consumer may have started can stay assigned to it, in milliseconds. On Kafka, its
   * partitions stay assigned until another consumer gets them, so events that are published in the meantime count, too.
   */
  readonly takeoverMs: number
  /** Maximum time after a fault until a group handles and a producer publishes again, in milliseconds. */
  readonly recoveryMs: number
  /** Maximum time that a running process may handle nothing under load, in milliseconds; once more for each fault. */
  readonly silenceMs: number
  /** Maximum time after a disturbance until the workers of an ordered group share the events again, in milliseconds. */
  readonly balanceMs: number
  /** Maximum growth of the memory of a process, in bytes. */
  readonly heapGrowthBytes: number
}

export type RuleName =
  | 'lost'
  | 'invented'
  | 'order'
  | 'duplicate'
  | 'attempts'
  | 'recovery'
  | 'share'
  | 'conduct'

export interface Finding {
  readonly rule: RuleName
  readonly message: string
  /** The event that it concerns. */
  readonly event?: string
}

export interface Violation extends Finding {
  /** The full history of the event. */
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
  sharesAreEven,
  countersAgree,
  processesEnd,
  nothingLeftBehind,
]

/** Finds the violations in a history. It reads nothing else, so that it can be tested on its own. */
export function judge(facts: readonly Fact[], options: JudgeOptions): readonly Violation[] {
  const chronicle = new Chronicle(facts)
  return RULES.flatMap((rule) => rule(chronicle, options)).map((finding) => ({
    ...finding,
    story: finding.event === undefined ? [] : chronicle.storyOf(finding.event),
  }))
}

/** A few violations are as informative as thousands: shows the first ones of each rule, and their number. */
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
