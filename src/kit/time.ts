/** Waits for a promise, at most so long. @returns false when the time ran out; the promise goes on then. */
export async function whenSettled(promise: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  const timeout = Promise.withResolvers<false>()
  const timer = setTimeout(() => timeout.resolve(false), timeoutMs)
  try {
    return await Promise.race([promise.then(() => true), timeout.promise])
  } finally {
    clearTimeout(timer)
  }
}

/** Waits so long, or until the signal aborts. @returns false when it was aborted. */
export function wait(ms: number, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return Promise.resolve(false)
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const onAbort = () => {
    clearTimeout(timer)
    resolve(false)
  }
  const timer = setTimeout(() => {
    signal.removeEventListener('abort', onAbort)
    resolve(true)
  }, ms)
  signal.addEventListener('abort', onAbort, { once: true })
  return promise
}

/** How waiting is done; tests of the retry schedule pass one of their own. */
export type Wait = typeof wait
