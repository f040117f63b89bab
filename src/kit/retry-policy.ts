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
}

/** Exponential backoff with symmetric jitter. */
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
    return 1 + this.#options.maxRetries
  }

  /**
   * Maximum number of deliveries whose handling starts. At least 2, even without retries: a process that crashed may
   * have held the message without starting to handle it.
   */
  get maxDeliveries(): number {
    return 1 + Math.max(1, this.#options.maxRetries)
  }

  /** The delay after a failed attempt (numbered from 1), in milliseconds; undefined if no attempt is left. */
  delayAfter(attempt: number): number | undefined {
    return attempt >= this.maxAttempts ? undefined : this.backoff(attempt)
  }

  /** The delay after the nth failure, in milliseconds, of an action that is retried without a limit. */
  backoff(failure: number): number {
    const { retryBaseDelayMs, retryMaxDelayMs, retryJitter } = this.#options
    const delay = Math.min(retryMaxDelayMs, retryBaseDelayMs * 2 ** Math.min(failure - 1, 52))
    return Math.max(0, delay * (1 + retryJitter * (2 * this.#random() - 1)))
  }
}
