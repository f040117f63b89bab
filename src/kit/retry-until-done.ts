import { toError } from '../errors.ts'
import type { RetryPolicy } from './retry-policy.ts'
import { sleep } from './time.ts'

export interface RetryUntilDoneOptions {
  readonly backoff: Pick<RetryPolicy, 'backoff'>
  /** Ends the attempts, between two of them. */
  readonly signal: AbortSignal
  /** Called after each failed attempt, counted from 1. What it throws ends the attempts. */
  readonly onFailure: (error: Error, failure: number) => void
  /** How to wait for the next attempt; resolves to false to end the attempts. By default a timer that the signal ends. */
  readonly sleep?: (ms: number) => Promise<boolean>
}

/**
 * Repeats an action until it succeeds.
 * @returns what the action returned, or undefined if the signal aborted first.
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
