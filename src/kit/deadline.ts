/** A time by which something is to end. It can be brought forward, never put off; until `end` it keeps the process alive. */
export class Deadline {
  readonly #controller = new AbortController()
  #at = Number.POSITIVE_INFINITY
  #timer: NodeJS.Timeout | undefined

  /** Aborts when the time is up. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** @param ms - from now; without effect if the time would be later than it is. */
  within(ms: number): void {
    const at = performance.now() + ms
    if (at >= this.#at) return
    this.#at = at
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#controller.abort(), ms)
  }

  end(): void {
    clearTimeout(this.#timer)
  }
}

/** Waits for a promise, or until the signal aborts. @returns false when it did; the promise goes on then. */
export async function settledBefore(promise: Promise<unknown>, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return false
  const aborted = Promise.withResolvers<false>()
  const onAbort = () => aborted.resolve(false)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([promise.then(() => true), aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
