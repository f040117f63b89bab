import { setImmediate } from 'node:timers/promises'

/** Longest time for which work may hold the event loop before it yields, in milliseconds. */
const SLICE_MS = 10

/** Divides long work into slices, between which the event loop runs other tasks. */
export class Slices {
  #startedAt = performance.now()

  /** True if the current slice has lasted long enough. Ask between small steps, then await `next`. */
  get isOver(): boolean {
    return performance.now() - this.#startedAt > SLICE_MS
  }

  /** Lets the event loop run, and starts a slice. */
  async next(): Promise<void> {
    await setImmediate()
    this.#startedAt = performance.now()
  }
}
