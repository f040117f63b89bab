import { toError } from '../../errors.ts'
import type { Logger } from '../../observability/logger.ts'

/** Publishes that nobody awaits: bounded, counted, and their failures logged. */
export class BackgroundPublishes {
  readonly #limit: number
  readonly #logger: Logger
  readonly #running = new Set<Promise<void>>()
  #created = 0
  #completed = 0
  #failed = 0
  #isAbandoned = false

  constructor(limit: number, logger: Logger) {
    this.#limit = limit
    this.#logger = logger
  }

  /** Under way now. */
  get count(): number {
    return this.#isAbandoned ? 0 : this.#running.size
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
   * Starts a publish, unless the bound is reached: then it says false, and the caller publishes inline. (Waiting
   * for a free slot would deadlock when a handler publishes.)
   */
  tryStart(publish: () => Promise<void>): boolean {
    if (this.#running.size >= this.#limit) return false
    this.#created += 1
    const task = this.#run(publish).finally(() => this.#running.delete(task))
    this.#running.add(task)
    return true
  }

  /** Resolves when all that is under way has ended. */
  async drained(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running)
  }

  /** Gives up on what is under way: it is no longer counted. */
  abandon(): void {
    this.#isAbandoned = true
  }

  async #run(publish: () => Promise<void>): Promise<void> {
    // Handlers in memory start in the publish itself; the caller is to return before that.
    await new Promise((resolve) => setImmediate(resolve))
    try {
      await publish()
    } catch (error) {
      this.#failed += 1
      this.#logger.error('background publish failed', { error: toError(error) })
    } finally {
      this.#completed += 1
    }
  }
}
