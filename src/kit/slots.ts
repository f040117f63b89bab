/** A counting semaphore. Callers queue when all slots are taken. */
export class Slots {
  readonly #count: number
  #free: number
  readonly #waiting: (() => void)[] = []
  #isHeld = false

  constructor(count: number) {
    this.#count = count
    this.#free = count
  }

  /** Number of slots that are taken. */
  get inUse(): number {
    return Math.min(this.#count, this.#count - this.#free)
  }

  /** Takes a slot and calls `start`: at once if a slot is free, otherwise when one is released. Call `release` once for it. */
  take(start: () => void): void {
    if (this.#free <= 0 || this.#isHeld) {
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

  /** Takes a slot at once, even if none is free. Then the next one that is released goes to no other caller. */
  takeAnyway(): void {
    this.#free -= 1
  }

  release(): void {
    const next = this.#isHeld || this.#free < 0 ? undefined : this.#waiting.shift()
    if (next === undefined) this.#free += 1
    else next()
  }

  /** Gives out no further slot until `unhold`. */
  hold(): void {
    this.#isHeld = true
  }

  unhold(): void {
    this.#isHeld = false
    while (this.#free > 0 && !this.#isHeld) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      this.#free -= 1
      next()
    }
  }

  /** True if another caller should get the slot of one that could go on. */
  get isContended(): boolean {
    return this.#isHeld || this.#waiting.length > 0
  }
}
