/** Counts running work, and notifies callers when none is left. */
export class IdleCounter {
  #count = 0
  #idle: PromiseWithResolvers<void> | undefined
  readonly #waiting = new Set<{ readonly limit: () => number; readonly reached: () => void }>()

  /** Number of running pieces of work. */
  get count(): number {
    return this.#count
  }

  start(): void {
    this.#count += 1
  }

  end(): void {
    this.#count -= 1
    if (this.#waiting.size > 0) this.#notify()
    if (this.#count > 0) return
    this.#idle?.resolve()
    this.#idle = undefined
  }

  #notify(): void {
    for (const waiter of this.#waiting) {
      if (this.#count > waiter.limit()) continue
      this.#waiting.delete(waiter)
      waiter.reached()
    }
  }

  /** Counts a promise as running until it settles. @returns its result. @throws what it rejects with. */
  async track<T>(work: Promise<T>): Promise<T> {
    this.start()
    try {
      return await work
    } finally {
      this.end()
    }
  }

  /**
   * Resolves when the number of running pieces of work does not exceed the limit. The limit is computed again whenever
   * one ends.
   */
  async whenAtMost(limit: () => number): Promise<void> {
    if (this.#count <= limit()) return
    await new Promise<void>((reached) => this.#waiting.add({ limit, reached }))
  }

  /** Resolves when nothing is running; at once if nothing is. */
  whenIdle(): Promise<void> {
    if (this.#count === 0) return Promise.resolve()
    this.#idle ??= Promise.withResolvers()
    return this.#idle.promise
  }
}
