import { setTimeout as delay } from 'node:timers/promises'
import { inspect } from 'node:util'

/** Options of {@link waitFor}. */
export interface WaitForOptions {
  /** Maximum wait, in milliseconds. Default 5,000. */
  readonly timeoutMs?: number
  /**
   * Pause between two checks, in milliseconds. Default: 5 at first, then a twentieth of the time waited so far, at most
   * 50. A long wait, for a server that restarts for example, does not slow down what it waits for.
   */
  readonly intervalMs?: number
  /** Describes the condition and the actual state. A function is called when the deadline has passed. */
  readonly describe?: string | (() => string)
}

/** A condition was not met in time. */
export class WaitTimeoutError extends Error {
  override readonly name = 'WaitTimeoutError'
}

/**
 * Waits until a condition holds, so that tests wait for conditions, never for time to pass.
 *
 * @param condition - checked repeatedly; a condition that throws does not hold yet.
 * @returns the result of the condition when it held.
 * @throws WaitTimeoutError with the description of what was seen last.
 * @example
 * await waitFor(() => handled.length === 3, { describe: () => `3 events, saw ${handled.length}` })
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  { timeoutMs = 5000, intervalMs, describe = 'a condition' }: WaitForOptions = {},
): Promise<Exclude<T, false | undefined | null | 0 | ''>> {
  const start = performance.now()
  const deadline = start + timeoutMs
  for (;;) {
    const seen = await check(condition)
    // A truthy value is none of the excluded values.
    if (seen.value) return seen.value as Exclude<T, false | undefined | null | 0 | ''>
    if (performance.now() >= deadline) {
      const what = typeof describe === 'string' ? describe : describe()
      const last = seen.error === undefined ? '' : `; the last check failed: ${inspect(seen.error)}`
      throw new WaitTimeoutError(`waited ${timeoutMs} ms for ${what}${last}`, { cause: seen.error })
    }
    await delay(intervalMs ?? Math.min(50, Math.max(5, (performance.now() - start) / 20)))
  }
}

async function check<T>(condition: () => T | Promise<T>): Promise<{ value?: T; error?: unknown }> {
  try {
    return { value: await condition() }
  } catch (error) {
    return { error }
  }
}
