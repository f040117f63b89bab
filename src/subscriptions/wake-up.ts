import { settledWithin } from '../kit/time.ts'

/** Ends a sleep when there may be work. A call before the sleep also ends it: the wake-up is a flag, not a queue. */
export class WakeUp {
  #woken = Promise.withResolvers<void>()

  /** Resets the flag. Call it before a read that may find nothing. */
  arm(): void {
    this.#woken = Promise.withResolvers()
  }

  call(): void {
    this.#woken.resolve()
  }

  /** Sleeps until the first call after `arm`, at most `maxMs`. @returns false if there was no call. */
  sleep(maxMs: number): Promise<boolean> {
    return settledWithin(this.#woken.promise, maxMs)
  }
}
