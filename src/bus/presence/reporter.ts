import { randomUUID } from 'node:crypto'
import { EventspineError, toError } from '../../errors.ts'
import { settledWithin } from '../../kit/time.ts'
import type { Logger } from '../../observability/logger.ts'
import type { PresenceStore } from '../../transport/presence.ts'
import { type PresenceFacts, writeReport } from './report.ts'

/** A process counts as gone after this many intervals without a report. */
const LIFETIME = 3

export interface PresenceReporterParts {
  readonly store: PresenceStore
  readonly intervalMs: number
  readonly facts: () => PresenceFacts
  readonly logger: Logger
}

/** Reports what this bus is and does, at once and in each interval, until it is closed. Never throws or rejects. */
export class PresenceReporter {
  readonly #parts: PresenceReporterParts
  readonly #id = randomUUID()
  readonly #finished: Promise<void>
  #next = Promise.withResolvers<void>()
  #isOver = false
  /** True if the broker may have a report of this process. */
  #isKnown = false

  constructor(parts: PresenceReporterParts) {
    this.#parts = parts
    this.#finished = this.#run()
  }

  /** Reports at once. */
  report(): void {
    this.#next.resolve()
  }

  /** Removes the report, if that takes at most `timeoutMs`. */
  async close(timeoutMs: number): Promise<void> {
    this.#isOver = true
    this.#next.resolve()
    await settledWithin(
      this.#finished.then(() => this.#remove()).catch(() => undefined),
      timeoutMs,
    )
  }

  async #run(): Promise<void> {
    while (!this.#isOver) {
      this.#next = Promise.withResolvers()
      await this.#beat()
      const timer = setTimeout(this.#next.resolve, this.#parts.intervalMs).unref()
      await this.#next.promise
      clearTimeout(timer)
    }
  }

  async #beat(): Promise<void> {
    const { store, intervalMs, facts, logger } = this.#parts
    try {
      const present = facts()
      const isConsumer = present.consumer !== undefined
      if (!isConsumer && present.publishes.length === 0) return await this.#remove()
      this.#isKnown = true
      const text = writeReport(present)
      await store.write({ id: this.#id, text, ttlMs: LIFETIME * intervalMs, isConsumer })
    } catch (thrown) {
      const error = toError(thrown)
      // The connection reports an outage itself.
      if (error instanceof EventspineError && error.retryable) return
      this.#isOver = true
      this.#isKnown = false
      logger.info('presence of this process is not reported, because the broker refused it', { error })
    }
  }

  async #remove(): Promise<void> {
    if (!this.#isKnown) return
    await this.#parts.store.remove(this.#id)
    this.#isKnown = false
  }
}
