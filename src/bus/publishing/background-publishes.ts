import { AsyncLocalStorage } from 'node:async_hooks'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { toError } from '../../errors.ts'
import { IdleCounter } from '../../kit/idle-counter.ts'
import type { Logger } from '../../observability/logger.ts'

/** Publishes that no caller awaits: limited in number, counted, and logged if they fail. */
export class BackgroundPublishes {
  readonly #limit: number
  readonly #logger: Logger
  readonly #running = new IdleCounter()
  /** The background publish that the calling code belongs to, such as a middleware of it. */
  readonly #current = new AsyncLocalStorage<{ isRunning: boolean }>()
  #created = 0
  #completed = 0
  #failed = 0
  #isAbandoned = false

  constructor(limit: number, logger: Logger) {
    this.#limit = limit
    this.#logger = logger
  }

  /** Publishes in flight. */
  get count(): number {
    return this.#isAbandoned ? 0 : this.#running.count
  }

  get created(): number {
    return this.#created
  }

  get completed(): number {
    return this.#completed
  }

  get failed(): number {
    return this.#failed
  }

  /**
   * Starts a publish unless the limit is reached. It does not wait for a free slot: a handler that publishes would
   * deadlock.
   * @returns false if the limit is reached; the caller then publishes inline.
   */
  tryStart(publish: () => Promise<void>): boolean {
    if (this.#running.count >= this.#limit) return false
    this.#created += 1
    void this.#running.track(this.#run(publish))
    return true
  }

  /** Resolves when no publish is in flight. */
  drained(): Promise<void> {
    return this.#running.whenIdle()
  }

  /**
   * Waits for a stop, unless the calling code is part of a background publish, for which the stop waits.
   * @param stop - must not reject.
   */
  async stopFromAnywhere(stop: () => Promise<void>): Promise<void> {
    const publish = this.#current.getStore()
    const stopped = stop()
    // A publish that has ended by the next turn of the event loop did not wait for the caller.
    if (publish?.isRunning === true) await nextTurn()
    if (publish?.isRunning !== true) await stopped
  }

  /** Gives up on the publishes in flight: they are no longer counted. */
  abandon(): void {
    this.#isAbandoned = true
  }

  async #run(publish: () => Promise<void>): Promise<void> {
    // In memory, the publish itself starts the handlers; the caller must return before that.
    await new Promise((resolve) => setImmediate(resolve))
    const current = { isRunning: true }
    try {
      await this.#current.run(current, publish)
    } catch (error) {
      this.#failed += 1
      this.#logger.error('background publish failed', { error: toError(error) })
    } finally {
      current.isRunning = false
      this.#completed += 1
    }
  }
}
