import type { JudgeOptions, Rule } from '../../src/verify/rules.ts'

/** Limits of a run on a broker of its own, in addition to the promises of every bus. */
export interface TortureRules extends JudgeOptions {
  /** Maximum time after a fault until a group handles and a producer publishes again, in milliseconds. */
  readonly recoveryMs: number
  /** Maximum time that a running process may handle nothing under load, in milliseconds; once more for each fault. */
  readonly silenceMs: number
  /** Maximum time after a disturbance until the workers of an ordered group share the events again, in milliseconds. */
  readonly balanceMs: number
  /** Maximum growth of the memory of a process, in bytes. */
  readonly heapGrowthBytes: number
}

export type TortureRule = Rule<TortureRules>
