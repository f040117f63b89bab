import { setImmediate as nextTurn } from 'node:timers/promises'

/** Turns of the event loop without a change after which what remains only waits. The pipeline itself never waits for more. */
const STILL_TURNS = 5

/** What is running in a kit, and when it stands still. */
export class Activity {
  #running = 0
  #version = 0
  #changed = Promise.withResolvers<void>()

  /** Number of handlers and publishes that run. */
  get running(): number {
    return this.#running
  }

  readonly changed = (): void => {
    this.#version += 1
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }

  async track<T>(work: () => Promise<T>): Promise<T> {
    this.#running += 1
    this.changed()
    try {
      return await work()
    } finally {
      this.#running -= 1
      this.changed()
    }
  }

  /** Waits until no handler and no publish runs, and nothing has changed for a few turns. @returns false at the deadline. */
  async still(deadline: Promise<unknown>): Promise<boolean> {
    let isOver = false
    const over = deadline.then(() => {
      isOver = true
    })
    for (let turns = 0; turns < STILL_TURNS; turns += 1) {
      const version = this.#version
      if (this.#running > 0) await Promise.race([this.#changed.promise, over])
      else await nextTurn()
      if (isOver) return false
      if (this.#running > 0 || version !== this.#version) turns = -1
    }
    return true
  }
}
