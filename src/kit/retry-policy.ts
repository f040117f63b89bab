/** How often and when a failed event is tried again. */
export interface RetryOptions {
  /** Retries after the first attempt; then the dead letter queue. */
  readonly maxRetries: number
  /** Wait before the first retry, in milliseconds; doubles with each further one. */
  readonly retryBaseDelayMs: number
  /** Longest wait between two attempts, in milliseconds. Caps the exponential term, before jitter. */
  readonly retryMaxDelayMs: number
  /** Part of the delay, from 0 to 1, by which chance makes it shorter or longer. */
  readonly retryJitter: number
}

/** Exponential backoff with symmetric jitter. */
export class RetryPolicy {
  readonly #options: RetryOptions
  readonly #random: () => number

  /** @param random - a source of numbers from 0 up to 1. */
  constructor(options: RetryOptions, random: () => number = Math.random) {
    this.#options = options
    this.#random = random
  }

  /** Attempts in all. */
  get maxAttempts(): number {
    return 1 + this.#options.maxRetries
  }

  /**
   * How many deliveries may begin. One more than a message that needs no retries would have, as a message that was
   * in the hands of a process that died may never have been begun.
   */
  get maxDeliveries(): number {
    return 1 + Math.max(1, this.#options.maxRetries)
  }

  /** Milliseconds to wait after a failed attempt (from 1), or undefined when there is none left. */
  delayAfter(attempt: number): number | undefined {
    return attempt >= this.maxAttempts ? undefined : this.backoff(attempt)
  }

  /** Milliseconds to wait after the nth failure of something that is tried until it succeeds. */
  backoff(failure: number): number {
    const { retryBaseDelayMs, retryMaxDelayMs, retryJitter } = this.#options
    const delay = Math.min(retryMaxDelayMs, retryBaseDelayMs * 2 ** Math.min(failure - 1, 52))
    return Math.max(0, delay * (1 + retryJitter * (2 * this.#random() - 1)))
  }
}
