/** How often a failed event is retried, and after which delays. */
export interface RetryOptions {
  /** Retries after the first attempt, before the dead letter queue. */
  readonly maxRetries: number
  /** Delay before the first retry, in milliseconds; it doubles with each further retry. */
  readonly retryBaseDelayMs: number
  /** Maximum delay between two attempts, in milliseconds. Caps the exponential term, before jitter. */
  readonly retryMaxDelayMs: number
  /** Fraction, from 0 to 1, by which each delay is randomly shortened or lengthened. */
  readonly retryJitter: number
  /** The delay before each retry, in milliseconds. Replaces the number of retries and the exponential delays. */
  readonly retryDelaysMs?: readonly number[] | undefined
}

/** Exponential backoff, or a schedule of delays, with symmetric jitter. */
export class RetryPolicy {
  readonly #options: RetryOptions
  readonly #random: () => number

  /** @param random - returns numbers from 0 up to, but not including, 1. */
  constructor(options: RetryOptions, random: () => number = Math.random) {
    this.#options = options
    this.#random = random
  }

  /** Total number of attempts. */
  get maxAttempts(): number {
    return 1 + this.#maxRetries
  }

  /**
   * Maximum number of deliveries whose handling starts. At least 2, even without retries: a process that crashed may
   * have held the message without starting to handle it.
   */
  get maxDeliveries(): number {
    return 1 + Math.max(1, this.#maxRetries)
  }

  /** The delay after a failed attempt (numbered from 1), in milliseconds; undefined if no attempt is left. */
  delayAfter(attempt: number): number | undefined {
    if (attempt >= this.maxAttempts) return undefined
    const scheduled = this.#options.retryDelaysMs?.[attempt - 1]
    return scheduled === undefined ? this.backoff(attempt) : this.#jittered(scheduled)
  }

  /** The delay after the nth failure, in milliseconds, of an action that is retried without a limit. */
  backoff(failure: number): number {
    const { retryBaseDelayMs, retryMaxDelayMs } = this.#options
    return this.#jittered(Math.min(retryMaxDelayMs, retryBaseDelayMs * 2 ** Math.min(failure - 1, 52)))
  }

  get #maxRetries(): number {
    return this.#options.retryDelaysMs?.length ?? this.#options.maxRetries
  }

  #jittered(delayMs: number): number {
    return Math.max(0, delayMs * (1 + this.#options.retryJitter * (2 * this.#random() - 1)))
  }
}
