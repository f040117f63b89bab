interface Waiter {
  readonly position: number
  readonly reached: PromiseWithResolvers<void>
}

/** The callers that wait until a position is passed. */
export class PositionWaiters {
  #waiting: readonly Waiter[] = []

  get areWaiting(): boolean {
    return this.#waiting.length > 0
  }

  /** Resolves when everything up to the position is finished. */
  until(position: number): Promise<void> {
    const reached = Promise.withResolvers<void>()
    this.#waiting = [...this.#waiting, { position, reached }]
    return reached.promise
  }

  moved(position: number): void {
    if (this.#waiting.length === 0) return
    const done = this.#waiting.filter((waiter) => waiter.position <= position)
    if (done.length === 0) return
    this.#waiting = this.#waiting.filter((waiter) => waiter.position > position)
    for (const { reached } of done) reached.resolve()
  }

  /** Rejects all waiting callers, because their positions will not be passed. */
  reject(error: Error): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const { reached } of waiting) reached.reject(error)
  }
}
