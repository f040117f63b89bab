import { toError } from '../errors.ts'
import type { RetryPolicy } from './retry-policy.ts'
import { sleep } from './time.ts'

export interface RetryUntilDoneOptions {
  readonly backoff: Pick<RetryPolicy, 'backoff'>
  /** Stops the retries. A running attempt is not interrupted. */
  readonly signal: AbortSignal
  /** Called after each failed attempt, numbered from 1. It throws to stop the retries. */
  readonly onFailure: (error: Error, failure: number) => void
  /** Waits before the next attempt; resolves to false to stop the retries. Default: a timer that the signal stops. */
  readonly sleep?: (ms: number) => Promise<boolean>
}

/**
 * Repeats an action until it succeeds.
 * @returns the result of the action, or undefined if the signal aborted first.
 * @throws what `onFailure` throws.
 */
export async function retryUntilDone<T>(
  action: (attempt: number) => Promise<T> | T,
  { backoff, signal, onFailure, sleep: pause = (ms) => sleep(ms, signal) }: RetryUntilDoneOptions,
): Promise<{ readonly value: T } | undefined> {
  for (let attempt = 1; !signal.aborted; attempt += 1) {
    try {
      return { value: await action(attempt) }
    } catch (thrown) {
      onFailure(toError(thrown), attempt)
    }
    if (!(await pause(backoff.backoff(attempt)))) return undefined
  }
  return undefined
}
