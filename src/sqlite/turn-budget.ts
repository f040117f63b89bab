import { setImmediate as nextTurn } from 'node:timers/promises'

/** Maximum time that SQLite blocks the calling thread between two turns of the event loop, in milliseconds. */
const BUDGET_MS = 4

/**
 * Lets the event loop run regularly. Synchronous calls resolve in microtasks, so a program that awaits one call after the
 * other would never process timers and sockets.
 */
export class TurnBudget {
  #spentMs = 0

  /** Runs work and adds its duration. */
  run<T>(work: () => T): T {
    const startedAt = performance.now()
    try {
      return work()
    } finally {
      this.#spentMs += performance.now() - startedAt
    }
  }

  /** Lets the event loop run if the budget is used up; otherwise returns undefined. */
  pause(): Promise<void> | undefined {
    if (this.#spentMs < BUDGET_MS) return undefined
    this.#spentMs = 0
    return nextTurn()
  }
}
