/** A counted number of places; who finds none waits in line. */
export class Slots {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(count: number) {
    this.#free = count
  }

  /** Runs `start` at once where a place is free, else when one becomes free. Each start needs one `release`. */
  take(start: () => void): void {
    if (this.#free === 0) {
      this.#waiting.push(start)
      return
    }
    this.#free -= 1
    start()
  }

  /** Resolves when a place is taken. */
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

  /** True when somebody waits for a place. */
  get isContended(): boolean {
    return this.#waiting.length > 0
  }
}
