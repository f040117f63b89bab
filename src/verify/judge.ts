import { Chronicle } from './chronicle.ts'
import type { Fact } from './history.ts'
import { attemptsWithinPolicy, duplicatesOnlyAtFaults, processesEnd } from './judge-conduct.ts'
import {
  nothingInvented,
  nothingLost,
  nothingUnsettled,
  orderKept,
  publishesSettle,
} from './judge-delivery.ts'
import type { Finding, JudgeOptions, Rule } from './rules.ts'

export interface Violation extends Finding {
  /** The full history of the event. */
  readonly story: readonly string[]
}

const RULES: readonly Rule[] = [
  nothingLost,
  nothingInvented,
  orderKept,
  duplicatesOnlyAtFaults,
  attemptsWithinPolicy,
  publishesSettle,
  processesEnd,
  nothingUnsettled,
]

/**
 * Finds the violations in a history. It reads nothing else, so that it can be tested on its own.
 * @param more - rules in addition to the promises of every bus.
 */
export function judge<O extends JudgeOptions>(
  facts: readonly Fact[],
  options: O,
  more: readonly Rule<O>[] = [],
): readonly Violation[] {
  const chronicle = new Chronicle(facts)
  return [...RULES, ...more]
    .flatMap((rule) => rule(chronicle, options))
    .map((finding) => ({
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
