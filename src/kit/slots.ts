/** A counting semaphore. Callers queue when all slots are taken. */
export class Slots {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(count: number) {
    this.#free = count
  }

  /** Calls `start` with a slot taken: synchronously if one is free, else when one is released. Each needs one `release`. */
  take(start: () => void): void {
    if (this.#free === 0) {
      this.#waiting.push(start)
      return
    }
    this.#free -= 1
    start()
  }

  /** Resolves with a slot taken. */
  taken(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.take(resolve)
    return promise
  }

  release(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free += 1
    else next()
  }

  /** True if a caller is waiting for a slot. */
  get isContended(): boolean {
    return this.#waiting.length > 0
  }
}
