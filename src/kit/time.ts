/**
 * Waits for `ms` milliseconds or until one of the signals aborts. `AbortSignal.any` would not do: a signal that lives long
 * keeps a reference to each signal that follows it.
 * @returns false if one aborted.
 */
export function sleep(ms: number, ...signals: readonly AbortSignal[]): Promise<boolean> {
  if (signals.some(({ aborted }) => aborted)) return Promise.resolve(false)
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const end = (isOver: boolean) => {
    clearTimeout(timer)
    for (const signal of signals) signal.removeEventListener('abort', onAbort)
    resolve(isOver)
  }
  const onAbort = () => end(false)
  const timer = setTimeout(() => end(true), ms)
  for (const signal of signals) signal.addEventListener('abort', onAbort, { once: true })
  return promise
}

/** The function that waits between two attempts; a test of the retry schedule passes its own. */
export type Sleep = typeof sleep

/**
 * Waits for a promise for at most `timeoutMs`. The promise is not cancelled; a rejection after the timeout is ignored.
 * @returns false if the timeout passed first. @throws what the promise rejects with.
 */
export async function settledWithin(promise: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  const timeout = Promise.withResolvers<false>()
  const timer = setTimeout(() => timeout.resolve(false), timeoutMs)
  try {
    return await Promise.race([promise.then(() => true), timeout.promise])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Waits for a promise until the signal aborts. The promise is not cancelled; a rejection after the abort is ignored.
 * @returns false if the signal aborted first. @throws what the promise rejects with.
 */
export async function settledUntil(promise: Promise<unknown>, signal: AbortSignal): Promise<boolean> {
  const settled = promise.then(() => true)
  if (signal.aborted) {
    settled.catch(() => undefined)
    return false
  }
  const aborted = Promise.withResolvers<false>()
  const onAbort = () => aborted.resolve(false)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([settled, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
