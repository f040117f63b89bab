import { settledWithin } from '../kit/time.ts'

/** Tells a sleeper that there may be something to do. A call that comes before the sleep counts: one flag, no queue. */
export class WakeUp {
  #woken = Promise.withResolvers<void>()

  /** Forgets earlier calls. To be called before the look that may find nothing. */
  arm(): void {
    this.#woken = Promise.withResolvers()
  }

  call(): void {
    this.#woken.resolve()
  }

  /** Sleeps until the first call after `arm`, at most so long. @returns false when nobody called. */
  sleep(maxMs: number): Promise<boolean> {
    return settledWithin(this.#woken.promise, maxMs)
  }
}
