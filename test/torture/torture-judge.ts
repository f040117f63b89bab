import type { Fact } from '../../src/verify/history.ts'
import { judge, type Violation } from '../../src/verify/judge.ts'
import { countersAgree } from './judge-counters.ts'
import { nothingLeftBehind } from './judge-end.ts'
import { recoveredInTime } from './judge-recovery.ts'
import { sharesAreEven } from './judge-shares.ts'
import type { TortureRule, TortureRules } from './torture-rules.ts'

const RULES: readonly TortureRule[] = [recoveredInTime, sharesAreEven, countersAgree, nothingLeftBehind]

/** Judges the promises of every bus, and the limits of a run. */
export function judgeTorture(facts: readonly Fact[], rules: TortureRules): readonly Violation[] {
  return judge(facts, rules, RULES)
}
