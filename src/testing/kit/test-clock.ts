interface Sleeper {
  readonly dueMs: number
  readonly wake: () => void
}

/** The time of one kit. It passes only when the kit skips it, so that a backoff of an hour takes no time. */
export class TestClock {
  readonly #sleepers = new Set<Sleeper>()
  #nowMs = 0
  /** Called when a wait starts or ends. */
  readonly #changed: () => void

  constructor(changed: () => void) {
    this.#changed = changed
  }

  /** The time that has passed since the kit started, in milliseconds. */
  get nowMs(): number {
    return this.#nowMs
  }

  /** Number of waits. */
  get waiting(): number {
    return this.#sleepers.size
  }

  /** Waits until the kit has skipped `ms`. @returns false if one of the signals aborts first. */
  readonly sleep = (ms: number, ...signals: readonly AbortSignal[]): Promise<boolean> => {
    if (signals.some(({ aborted }) => aborted)) return Promise.resolve(false)
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const end = (isOver: boolean) => {
      for (const signal of signals) signal.removeEventListener('abort', onAbort)
      this.#sleepers.delete(sleeper)
      this.#changed()
      resolve(isOver)
    }
    const onAbort = () => end(false)
    const sleeper: Sleeper = { dueMs: this.#nowMs + ms, wake: () => end(true) }
    for (const signal of signals) signal.addEventListener('abort', onAbort, { once: true })
    this.#sleepers.add(sleeper)
    this.#changed()
    return promise
  }

  /** Skips to the next end of a wait, at most to `untilMs`. @returns false if none ends before. */
  skipToNext(untilMs: number): boolean {
    const due = [...this.#sleepers].reduce(
      (least, { dueMs }) => Math.min(least, dueMs),
      Number.POSITIVE_INFINITY,
    )
    if (due > untilMs || due === Number.POSITIVE_INFINITY) return false
    this.#nowMs = Math.max(this.#nowMs, due)
    for (const sleeper of [...this.#sleepers]) if (sleeper.dueMs <= this.#nowMs) sleeper.wake()
    return true
  }

  /** Sets the time, if it is later than now. */
  setTo(ms: number): void {
    this.#nowMs = Math.max(this.#nowMs, ms)
  }
}
