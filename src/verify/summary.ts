import { Chronicle } from './chronicle.ts'
import type { Fact } from './history.ts'
import { judge, type Violation } from './judge.ts'
import type { JudgeOptions, RuleName } from './rules.ts'
import { longestStall, type Stall } from './stall.ts'

/** The result of a run, in numbers. */
export interface Summary {
  readonly published: number
  readonly confirmed: number
  /** Successful runs of handlers. */
  readonly handled: number
  readonly deadLettered: number
  readonly lost: number
  /** Confirmed events that still waited when a group had made no progress for too long. */
  readonly waiting: number
  readonly reordered: number
  /** Further successful runs of a handler for an event, most of them allowed after a fault. */
  readonly duplicates: number
  readonly longestStall: Stall | undefined
  readonly faults: readonly string[]
  readonly violations: readonly Violation[]
}

/** Judges a history. @param maxStallMs - a longer stall is a violation. */
export function summaryOf(facts: readonly Fact[], rules: JudgeOptions, maxStallMs: number): Summary {
  const chronicle = new Chronicle(facts)
  const stall = longestStall(chronicle, rules.groups)
  const stalled = new Set(
    chronicle.brokerEnds.filter(({ unsettled }) => unsettled > 0).map(({ group }) => group),
  )
  const violations = judge(facts, rules).map((violation) =>
    // The broker still has it.
    violation.rule === 'lost' && stalled.has(violation.group ?? '')
      ? { ...violation, rule: 'stalled' as const }
      : violation,
  )
  const count = (kind: Fact['kind']) => facts.filter((fact) => fact.kind === kind).length
  const eventsOf = (rule: RuleName) =>
    new Set(violations.filter((violation) => violation.rule === rule).map(({ event }) => event)).size
  return {
    ...{ published: count('published'), confirmed: count('confirmed') },
    ...{ handled: count('finished'), deadLettered: count('deadLettered') },
    ...{ lost: eventsOf('lost'), waiting: eventsOf('stalled'), reordered: eventsOf('order') },
    duplicates: duplicatesIn(chronicle),
    longestStall: stall,
    faults: chronicle.faults.map(({ name }) => name),
    violations: [...violations, ...tooLong(stall, maxStallMs)],
  }
}

function duplicatesIn({ runs }: Chronicle): number {
  const finished = runs.filter(({ outcome }) => outcome === 'finished')
  const once = new Set(finished.map(({ group, handler, event }) => `${group} ${handler} ${event}`))
  return finished.length - once.size
}

function tooLong(stall: Stall | undefined, maxStallMs: number): readonly Violation[] {
  if (stall === undefined || stall.ms <= maxStallMs) return []
  const message = `${stall.group} settled nothing for ${stall.ms} ms, more than ${maxStallMs} ms`
  return [{ rule: 'stalled', message, story: [] }]
}
