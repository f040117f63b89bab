import { ResettablePromise } from '../../kit/resettable-promise.ts'
import { settledUntil } from '../../kit/time.ts'

/** Whether the brokers can be reached. */
export class Availability {
  readonly #up = new ResettablePromise()
  readonly #closed: AbortSignal
  #isUp = false
  #restorations = 0

  /** @param closed - ends all waits. */
  constructor(closed: AbortSignal) {
    this.#closed = closed
  }

  get isUp(): boolean {
    return this.#isUp
  }

  /**
   * Number of times that the brokers became reachable. A failure of an attempt that started before the last time is out
   * of date.
   */
  get restorations(): number {
    return this.#restorations
  }

  setUp(): void {
    this.#isUp = true
    this.#restorations += 1
    this.#up.resolve()
  }

  setDown(): void {
    this.#isUp = false
    this.#up.reset()
  }

  /** Waits until the brokers can be reached. @returns false if the signal aborts or the cluster is closed first. */
  async whenUp(signal: AbortSignal): Promise<boolean> {
    while (!this.#isUp) {
      const ended = AbortSignal.any([signal, this.#closed])
      if (!(await settledUntil(this.#up.promise, ended))) return false
    }
    return !signal.aborted
  }
}
