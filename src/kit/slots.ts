/** A counting semaphore. Callers queue when all slots are taken. */
export class Slots {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(count: number) {
    this.#free = count
  }

  /** Takes a slot and calls `start`: at once if a slot is free, otherwise when one is released. Call `release` once for it. */
  take(start: () => void): void {
    if (this.#free === 0) {
      this.#waiting.push(start)
      return
    }
    this.#free -= 1
    start()
  }

  /** Takes a slot, as soon as one is free. */
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
