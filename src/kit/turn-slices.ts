import { setImmediate as nextTurn } from 'node:timers'

/** Maximum time that the work may block the event loop before other tasks run, in milliseconds. */
const SLICE_MS = 10
/** Pieces of work between two looks at the clock, which would be a good part of the cost of a short one. */
const UNCHECKED = 8

/**
 * Spreads work that many callers start at once, or one after the other in microtasks, over several turns of the event loop,
 * in the order of the calls.
 */
export class TurnSlices {
  #waiting: (() => void)[] = []
  /** Callers before this index have gone on. */
  #head = 0
  /** Start of the work in this turn; undefined if there was none. */
  #startedAt: number | undefined
  #started = 0
  #isOver = false

  /** @returns undefined if the caller may start its work now; otherwise a promise that resolves when it may. */
  enter(): Promise<void> | undefined {
    if (this.#isOver || this.#hasWaiting) return new Promise((resolve) => this.#waiting.push(resolve))
    this.#startedAt ??= this.#start()
    this.#started += 1
    if (this.#started % UNCHECKED === 0) this.#isOver = performance.now() - this.#startedAt > SLICE_MS
    return undefined
  }

  get #hasWaiting(): boolean {
    return this.#head < this.#waiting.length
  }

  #start(): number {
    this.#started = 0
    nextTurn(this.#endTurn)
    return performance.now()
  }

  readonly #endTurn = (): void => {
    this.#startedAt = undefined
    this.#isOver = false
    if (this.#hasWaiting) void this.#release()
  }

  /** Lets waiting callers go on until the slice is over. */
  async #release(): Promise<void> {
    const startedAt = this.#start()
    this.#startedAt = startedAt
    while (this.#hasWaiting && !this.#isOver) {
      const released = this.#waiting.slice(this.#head, this.#head + UNCHECKED)
      this.#head += released.length
      for (const goOn of released) goOn()
      // They run before the next look at the clock.
      await Promise.resolve()
      this.#isOver = performance.now() - startedAt > SLICE_MS
    }
    if (this.#head * 2 < this.#waiting.length) return
    this.#waiting = this.#waiting.slice(this.#head)
    this.#head = 0
  }
}
