import { onTestFinished, vi } from 'vitest'

/**
 * Replaces `performance.now()` until the end of the test by a clock that moves only in {@link SteppedClock.advance}. With it
 * a test counts what is done in one slice of time, at any speed of the machine.
 */
export class SteppedClock {
  #nowMs = 0

  constructor() {
    const spy = vi.spyOn(performance, 'now').mockImplementation(() => this.#nowMs)
    onTestFinished(() => spy.mockRestore())
  }

  get nowMs(): number {
    return this.#nowMs
  }

  advance(ms: number): void {
    this.#nowMs += ms
  }
}
