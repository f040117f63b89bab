import { EventspineError, toError } from '../../errors.ts'
import { settledWithin, sleep } from '../../kit/time.ts'
import type { Logger } from '../../observability/logger.ts'
import type { GroupControlStore, GroupPause } from '../../transport/control.ts'
import { describePause, readPause } from '../group-pause.ts'

/** Interval between two readings, in milliseconds. */
const POLL_MS = 1000
/**
 * How long the start of a consumer waits for the first answer, in milliseconds. A broker that blocks requests until
 * something is consumed must not keep its consumers from starting.
 */
const FIRST_ANSWER_MS = 10_000

export interface PauseWatchParts {
  readonly store: GroupControlStore
  readonly logger: Logger
  /** Called after each change, with undefined when the group is resumed. */
  readonly onChange: (pause: GroupPause | undefined) => void
}

/** Knows whether the group of this bus is paused, from `start` until the signal aborts. */
export class PauseWatch {
  readonly #parts: PauseWatchParts
  #pause: GroupPause | undefined
  #changed = Promise.withResolvers<void>()
  #isRefused = false
  #isProblemLogged = false

  constructor(parts: PauseWatchParts) {
    this.#parts = parts
  }

  get staysInGroup(): boolean {
    return this.#parts.store.staysInGroup
  }

  /** For the health report; undefined if the group is not paused. */
  get reason(): string | undefined {
    return this.#pause && describePause(this.#pause)
  }

  /** The pause of the group; undefined if it is not paused. */
  get pause(): GroupPause | undefined {
    return this.#pause
  }

  /** Resolves when the state is known, or cannot be known. */
  async start(stopped: AbortSignal): Promise<void> {
    const first = this.#pollUntilKnown(stopped)
    if (!(await settledWithin(first, FIRST_ANSWER_MS)) && !stopped.aborted) {
      this.#parts.logger.warn('consuming starts although it is unknown whether the group is paused', {
        waitedMs: FIRST_ANSWER_MS,
      })
    }
    void first.then(() => this.#pollPeriodically(stopped))
  }

  /** Resolves when the group is paused, or when it is not, or when the signal aborts. */
  async whenPaused(isPaused: boolean, stopped: AbortSignal): Promise<void> {
    const { promise: aborted, resolve } = Promise.withResolvers<void>()
    const onAbort = () => resolve()
    stopped.addEventListener('abort', onAbort, { once: true })
    while (!stopped.aborted && (this.#pause !== undefined) !== isPaused) {
      await Promise.race([this.#changed.promise, aborted])
    }
    stopped.removeEventListener('abort', onAbort)
  }

  async #pollUntilKnown(stopped: AbortSignal): Promise<void> {
    while (!stopped.aborted && !(await this.#poll())) await sleep(POLL_MS, stopped)
  }

  async #pollPeriodically(stopped: AbortSignal): Promise<void> {
    while (!this.#isRefused && (await sleep(POLL_MS, stopped))) await this.#poll()
  }

  /** @returns false if the state is still unknown. The last known state holds meanwhile. */
  async #poll(): Promise<boolean> {
    const { store, logger } = this.#parts
    try {
      const pause = readPause(await store.poll())
      if (pause === undefined || store.problem === undefined) this.#apply(pause)
      else this.#ignore(pause, store.problem)
      return true
    } catch (thrown) {
      const error = toError(thrown)
      // The connection reports an outage itself.
      if (error instanceof EventspineError && error.retryable) return false
      this.#isRefused = true
      logger.warn('a pause of the consumer group is not noticed, because the broker refused to read it', {
        error,
      })
      return true
    }
  }

  #ignore({ by, why, at }: GroupPause, problem: string): void {
    if (this.#isProblemLogged) return
    this.#isProblemLogged = true
    this.#parts.logger.error('pause of the consumer group ignored', { problem, by, why, at })
  }

  #apply(next: GroupPause | undefined): void {
    const last = this.#pause
    if (last?.at.getTime() === next?.at.getTime() && last?.by === next?.by && last?.why === next?.why) return
    this.#pause = next
    this.#parts.onChange(next)
    const { resolve } = this.#changed
    this.#changed = Promise.withResolvers()
    resolve()
  }
}
