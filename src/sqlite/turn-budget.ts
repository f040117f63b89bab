import { setImmediate as nextTurn } from 'node:timers/promises'

/** Longest work of SQLite on the calling thread between two turns of the event loop, in milliseconds. */
const BUDGET_MS = 4

/**
 * Gives the event loop its turns: calls that finish synchronously resolve in microtasks, so a program that awaits one after
 * the other would never reach timers and sockets.
 */
export class TurnBudget {
  #spentMs = 0

  /** Runs work and counts its time. */
  run<T>(work: () => T): T {
    const startedAt = performance.now()
    try {
      return work()
    } finally {
      this.#spentMs += performance.now() - startedAt
    }
  }

  /** Lets the event loop turn if the budget is spent; undefined if it is not. */
  pause(): Promise<void> | undefined {
    if (this.#spentMs < BUDGET_MS) return undefined
    this.#spentMs = 0
    return nextTurn()
  }
}
