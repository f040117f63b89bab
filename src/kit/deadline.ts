/**
 * A deadline that can be moved forward but not postponed. Its timer keeps the process alive until the deadline passes
 * or `end` is called.
 */
export class Deadline {
  readonly #controller = new AbortController()
  #at = Number.POSITIVE_INFINITY
  #timer: NodeJS.Timeout | undefined

  /** Aborts when the deadline passes. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** @param ms - from now; ignored if the deadline is already earlier. */
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
