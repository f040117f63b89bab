/** Counts work that runs, and says when none does. */
export class IdleCounter {
  #count = 0
  #idle: PromiseWithResolvers<void> | undefined

  /** How many are running. */
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

  /** Counts a promise until it settles. @returns what it resolves to; rejects as it does. */
  async track<T>(work: Promise<T>): Promise<T> {
    this.start()
    try {
      return await work
    } finally {
      this.end()
    }
  }

  /** Resolves when nothing is running, at once if nothing is. */
  whenIdle(): Promise<void> {
    if (this.#count === 0) return Promise.resolve()
    this.#idle ??= Promise.withResolvers()
    return this.#idle.promise
  }
}
