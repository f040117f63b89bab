import { RetryPolicy } from './retry-policy.ts'

/** Unlimited exponential backoff: from `firstMs`, doubling up to `maxMs`, with symmetric jitter. */
function unlimited(firstMs: number, maxMs: number, jitter = 0.2): RetryPolicy {
  return new RetryPolicy({
    maxRetries: Number.POSITIVE_INFINITY,
    retryBaseDelayMs: firstMs,
    retryMaxDelayMs: maxMs,
    retryJitter: jitter,
  })
}

/** Between attempts to reach a broker for the first time: 250 ms to 5 s. */
export const START_BACKOFF = unlimited(250, 5000)

/** Between attempts to restore a lost connection: 50 ms to 2 s. The larger jitter spreads the processes that reconnect. */
export const RECONNECT_BACKOFF = unlimited(50, 2000, 0.3)

/** Between attempts of a request that reads records or joins a group: 50 ms to 2 s. */
export const READ_BACKOFF = unlimited(50, 2000)

/**
 * Between attempts of a subscription to read its store or to save its position: 100 ms to 1 s, however long the store has
 * been away.
 */
export const STORE_BACKOFF = unlimited(100, 1000)

/** Between attempts of a short request that other work depends on, such as a commit or a produce request: 20 ms to 1 s. */
export const REQUEST_BACKOFF = unlimited(20, 1000)
