/** Counts running work, and notifies callers when none is left. */
export class IdleCounter {
  #count = 0
  #idle: PromiseWithResolvers<void> | undefined

  /** How many pieces of work are running. */
  get count(): number {
    return this.#count
  }

  start(): void {
    this.#count += 1
  }

  end(): void {
    this.#count -= 1
    if (this.#count > 0) return
    this.#idle?.resolve()
    this.#idle = undefined
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

  /** Resolves when nothing is running; at once if nothing is. */
  whenIdle(): Promise<void> {
    if (this.#count === 0) return Promise.resolve()
    this.#idle ??= Promise.withResolvers()
    return this.#idle.promise
  }
}
