import { EventspineError, toError } from '../errors.ts'
import { type RetryOptions, RetryPolicy } from '../kit/retry-policy.ts'
import type { Logger } from '../observability/logger.ts'
import { WaitingLineFullError } from './errors.ts'
import type { HandlerEntry } from './handler-entry.ts'
import type { GivenPolicy, HandlerPolicy } from './handler-policy.ts'
import type { LongWaitOptions } from './long-waits.ts'
import { isRefusedEvent } from './refused-event.ts'

/** What follows a failed attempt. */
export type Verdict =
  | {
      readonly kind: 'retry'
      readonly delayMs: number
      readonly isOwnDelay: boolean
      /** True if the event should wait on the broker. */
      readonly isLong: boolean
    }
  | { readonly kind: 'giveUp'; readonly reason: 'max_retries_exceeded' | 'rejected' }
  | { readonly kind: 'discard' }

/** The options of a bus or subscription that its handlers have by default. */
export type DefaultPolicy = RetryOptions & {
  readonly retryIf?: HandlerPolicy['retryIf'] | undefined
  readonly discardIf?: HandlerPolicy['discardIf'] | undefined
  readonly longWaits?: LongWaitOptions | undefined
}

const DISCARD: Verdict = { kind: 'discard' }
const REJECT: Verdict = { kind: 'giveUp', reason: 'rejected' }
const EXHAUSTED: Verdict = { kind: 'giveUp', reason: 'max_retries_exceeded' }

/** Decides what follows a failed attempt of one handler. */
export class FailurePolicy {
  readonly retry: RetryPolicy
  readonly #options: DefaultPolicy
  readonly #logger: Logger

  constructor(options: DefaultPolicy, logger: Logger) {
    this.retry = new RetryPolicy(options)
    this.#options = options
    this.#logger = logger
  }

  /** @param attempt - number of the failed attempt, from 1. */
  verdict(error: Error, attempt: number): Verdict {
    const { retryIf, discardIf, longWaits } = this.#options
    const code = codeOf(error)
    if (error instanceof WaitingLineFullError) return REJECT
    if (code === 'EVENT_DISCARDED' || this.#ask('discardIf', discardIf, error) === true) return DISCARD
    const isHopeless = code === 'NON_RETRYABLE' || isRefusedEvent(error)
    if (isHopeless || this.#ask('retryIf', retryIf, error) === false) return REJECT
    const ownDelayMs = this.retry.delayAfter(attempt)
    if (ownDelayMs === undefined) return EXHAUSTED
    const chosen = code === 'RETRY_AFTER' ? chosenDelay(error) : undefined
    const delayMs = chosen ?? ownDelayMs
    const isLong = delayMs >= (longWaits?.fromMs ?? Number.POSITIVE_INFINITY)
    return { kind: 'retry', delayMs, isOwnDelay: chosen !== undefined, isLong }
  }

  #ask(
    name: 'retryIf' | 'discardIf',
    predicate: ((error: Error) => boolean) | undefined,
    error: Error,
  ): boolean | undefined {
    if (predicate === undefined) return undefined
    try {
      return predicate(error)
    } catch (thrown) {
      this.#logger.error(`${name} failed, the attempt is retried`, { error: toError(thrown), failure: error })
      return undefined
    }
  }
}

/** The policies of the handlers of one bus or subscription. */
export class FailurePolicies {
  /** The policy of the handlers without one of their own. */
  readonly default: FailurePolicy
  readonly #defaults: DefaultPolicy
  readonly #logger: Logger
  readonly #own = new WeakMap<GivenPolicy, FailurePolicy>()

  constructor(defaults: DefaultPolicy, logger: Logger) {
    this.#defaults = defaults
    this.#logger = logger
    this.default = new FailurePolicy(defaults, logger)
  }

  of({ policy }: Pick<HandlerEntry, 'policy'>): FailurePolicy {
    if (policy === undefined) return this.default
    const known = this.#own.get(policy)
    if (known !== undefined) return known
    const own = new FailurePolicy(combined(this.#defaults, policy), this.#logger)
    this.#own.set(policy, own)
    return own
  }
}

function combined(defaults: DefaultPolicy, own: GivenPolicy): DefaultPolicy {
  return {
    maxRetries: own.maxRetries ?? defaults.maxRetries,
    retryBaseDelayMs: own.retryBaseDelayMs ?? defaults.retryBaseDelayMs,
    retryMaxDelayMs: own.retryMaxDelayMs ?? defaults.retryMaxDelayMs,
    retryJitter: own.retryJitter ?? defaults.retryJitter,
    // A number of retries replaces the schedule of the bus.
    retryDelaysMs: own.retryDelaysMs ?? (own.maxRetries === undefined ? defaults.retryDelaysMs : undefined),
    retryIf: own.retryIf ?? defaults.retryIf,
    discardIf: own.discardIf ?? defaults.discardIf,
    longWaits: own.longWaits,
  }
}

/** Not by class, because a handler may use another copy of the package. */
function codeOf(error: Error): unknown {
  if (error instanceof EventspineError) return error.code
  return 'code' in error ? error.code : undefined
}

function chosenDelay(error: Error): number | undefined {
  const delayMs = 'delayMs' in error ? error.delayMs : undefined
  return typeof delayMs === 'number' && delayMs >= 0 ? delayMs : undefined
}
