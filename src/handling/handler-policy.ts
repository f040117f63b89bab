import { ConfigError } from '../errors.ts'
import {
  delayMs,
  delaysMs,
  durationMsOrInfinity,
  fraction,
  functionOption,
  nonNegativeInteger,
  type OptionRule,
  oneOf,
  optional,
  positiveInteger,
  positiveNumber,
  resolveOptions,
} from '../kit/options.ts'
import { type LongWaitOptions, longWaitOptions } from './long-waits.ts'
import type { OutageGuardOptions } from './outage-guard.ts'

/** How the failures of one handler are treated. An absent option has the value of the bus or subscription. */
export interface HandlerPolicy {
  /** Retries after the first attempt, before the dead letter queue. In memory, the default is 0. */
  readonly maxRetries?: number
  /** Delay before the first retry, in milliseconds; it doubles with each further retry. */
  readonly retryBaseDelayMs?: number
  /** Maximum delay between two attempts, in milliseconds. Caps the exponential term, before jitter. */
  readonly retryMaxDelayMs?: number
  /** Fraction, from 0 to 1, by which each delay is randomly shortened or lengthened. */
  readonly retryJitter?: number
  /**
   * The delay before each retry, in milliseconds, such as `[1_000, 60_000, 600_000]`. Replaces `maxRetries` and the
   * exponential delays.
   */
  readonly retryDelaysMs?: readonly number[]
  /** Maximum duration of one run of the handler, in milliseconds. */
  readonly handlerTimeoutMs?: number
  /** Maximum number of runs of the handler at the same time, in this process. Default: no limit of its own. */
  readonly concurrency?: number
  /** Maximum number of runs of the handler that start per second, retries included, in this process. Default: no limit. */
  readonly ratePerSecond?: number
  /**
   * Pauses the handler while many different events fail for the same reason: their attempts do not count, and one event at a
   * time is tried until one succeeds. True for the default limits. Default false.
   */
  readonly outageGuard?: boolean | OutageGuardOptions
  /**
   * Keeps an event on the broker, and not in this process, during a long delay before a retry. The wait outlives restarts
   * and deploys. Needs a `name`. Default: the process holds the event, and with it later events of the aggregate.
   */
  readonly longWaits?: LongWaitOptions
  /**
   * What follows for later events of an aggregate when an event becomes a dead letter for this handler. `'continue'`: the
   * handler gets them. `'park'`: they wait on the broker behind the dead letter, for this handler only, until it is replayed
   * or purged. Needs a `name`. Default `'continue'`.
   */
  readonly onDeadLetter?: 'continue' | 'park'
  /**
   * Maximum number of events of one aggregate that wait behind another on the broker (`onDeadLetter: 'park'`, and `longWaits`
   * with `order: 'keep'`). Further ones become dead letters. Default 10,000.
   */
  readonly maxBehind?: number
  /**
   * Returns false for an error that no retry can fix. The event is then given up after this attempt, with the reason
   * `rejected`, as for a `NonRetryableError`. If it throws, the error is retried.
   */
  readonly retryIf?: (error: Error) => boolean
  /**
   * Returns true for an error with which the handler discards the event, as with a `DiscardError`. If it throws, the event
   * is not discarded.
   */
  readonly discardIf?: (error: Error) => boolean
}

export const policyDefaults = {
  maxRetries: undefined as number | undefined,
  retryBaseDelayMs: undefined as number | undefined,
  retryMaxDelayMs: undefined as number | undefined,
  retryJitter: undefined as number | undefined,
  retryDelaysMs: undefined as readonly number[] | undefined,
  handlerTimeoutMs: undefined as number | undefined,
  concurrency: undefined as number | undefined,
  ratePerSecond: undefined as number | undefined,
  outageGuard: undefined as boolean | OutageGuardOptions | undefined,
  longWaits: undefined as LongWaitOptions | undefined,
  onDeadLetter: undefined as 'continue' | 'park' | undefined,
  maxBehind: undefined as number | undefined,
  retryIf: undefined as HandlerPolicy['retryIf'] | undefined,
  discardIf: undefined as HandlerPolicy['discardIf'] | undefined,
}

/** The given options of a policy; undefined for those that the bus decides. */
export type GivenPolicy = Readonly<typeof policyDefaults>

export const policyRules: Readonly<Record<keyof typeof policyDefaults, OptionRule>> = {
  maxRetries: optional({
    rule: `${nonNegativeInteger.rule}, or Infinity for no limit`,
    isValid: (value) => value === Number.POSITIVE_INFINITY || nonNegativeInteger.isValid(value),
  }),
  retryBaseDelayMs: optional(delayMs),
  retryMaxDelayMs: optional(delayMs),
  retryJitter: optional(fraction),
  retryDelaysMs: optional(delaysMs),
  handlerTimeoutMs: optional(durationMsOrInfinity),
  concurrency: optional(positiveInteger),
  ratePerSecond: optional(positiveNumber),
  outageGuard: optional({
    rule: 'true, false or an object with limits',
    isValid: (value) => typeof value === 'boolean' || (typeof value === 'object' && value !== null),
  }),
  longWaits: optional({
    rule: 'an object with order',
    isValid: (value) => typeof value === 'object' && value !== null,
  }),
  onDeadLetter: optional(oneOf('continue', 'park')),
  maxBehind: optional(positiveInteger),
  retryIf: optional(functionOption),
  discardIf: optional(functionOption),
}

/** @returns undefined if no option is given. @throws ConfigError */
export function readPolicy(subject: string, given: HandlerPolicy): GivenPolicy | undefined {
  if (Object.keys(given).length === 0) return undefined
  const policy = resolveOptions<GivenPolicy>(subject, given, policyDefaults, policyRules)
  checkSchedule(subject, policy)
  if (
    policy.maxBehind !== undefined &&
    policy.longWaits?.order !== 'keep' &&
    policy.onDeadLetter !== 'park'
  ) {
    const problem =
      "maxBehind needs onDeadLetter 'park', or longWaits with order 'keep': without them, no event waits behind another"
    throw new ConfigError(subject, [problem])
  }
  if (policy.longWaits === undefined) return policy
  const longWaits = longWaitOptions(subject, policy.longWaits)
  if (policy.onDeadLetter === 'park' && longWaits.order === 'giveUp') {
    const problem =
      "onDeadLetter 'park' keeps the order that longWaits with order 'giveUp' gives up: set order to 'keep', or omit longWaits"
    throw new ConfigError(subject, [problem])
  }
  return Object.freeze({ ...policy, longWaits })
}

/** A schedule and a number of retries contradict each other. @throws ConfigError */
export function checkSchedule(
  subject: string,
  { maxRetries, retryDelaysMs }: { readonly maxRetries?: unknown; readonly retryDelaysMs?: unknown },
): void {
  if ((maxRetries ?? undefined) === undefined || (retryDelaysMs ?? undefined) === undefined) return
  throw new ConfigError(subject, ['maxRetries is the length of retryDelaysMs: pass one of them'])
}
