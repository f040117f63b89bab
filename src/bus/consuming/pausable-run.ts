import { toError } from '../../errors.ts'
import { START_BACKOFF } from '../../kit/backoff.ts'
import { settledUntil, sleep } from '../../kit/time.ts'
import type { Logger } from '../../observability/logger.ts'
import type { ConsumerRun } from './consumer-run.ts'
import type { PauseWatch } from './pause-watch.ts'

export interface PausableRunParts {
  readonly connect: () => Promise<void>
  /** Announces to the group what this process handles, until the signal aborts, also during a pause. */
  readonly announce: (over: AbortSignal) => Promise<void>
  /** A run that announces nothing. */
  readonly createRun: () => ConsumerRun
  /** Called after the connection. */
  readonly loadWatch: () => Promise<PauseWatch>
  /** Called when a pause has taken effect, and when the last handler has ended. */
  readonly onHalted: () => void
  readonly logger: Logger
}

/** What the lifecycle needs of a consumption. */
export type RunningConsumer = Pick<
  ConsumerRun,
  | 'started'
  | 'finished'
  | 'isRunning'
  | 'isFlowing'
  | 'idleReason'
  | 'oldestTakenAt'
  | 'running'
  | 'isStopping'
  | 'stop'
> & { readonly isPaused?: boolean }

/** Interval between two looks at the handlers that still run, in milliseconds. */
const HALT_POLL_MS = 200

/**
 * A consumption of a group that can be paused. It consists of one run after another, with a pause between two, or of one run
 * that holds its deliveries during a pause.
 */
export class PausableRun implements RunningConsumer {
  readonly #parts: PausableRunParts
  readonly #stopRequested = new AbortController()
  /** Aborts when the pauses need not be watched any more. */
  readonly #over = new AbortController()
  readonly #started = Promise.withResolvers<void>()
  readonly #finished = Promise.withResolvers<void>()
  /** Undefined until the bus is connected. */
  #watch: PauseWatch | undefined
  #run: ConsumerRun | undefined
  #isRunning = false
  /** Failed starts since the last pause. */
  #failures = 0

  constructor(parts: PausableRunParts) {
    this.#parts = parts
    this.#started.promise.catch(() => undefined)
    this.#finished.promise.catch(() => undefined)
    void this.#live().catch((error: unknown) => {
      this.#over.abort()
      this.#started.reject(error)
      this.#finished.reject(error)
    })
  }

  /** Resolves when deliveries can arrive, when the group is paused, or when the run was stopped before. */
  get started(): Promise<unknown> {
    return this.#started.promise
  }

  get finished(): Promise<void> {
    return this.#finished.promise
  }

  get isRunning(): boolean {
    return this.#isRunning && !this.isStopping
  }

  get isStopping(): boolean {
    return this.#stopRequested.signal.aborted
  }

  get isFlowing(): boolean {
    return this.isRunning && (this.#watch?.pause !== undefined || this.#run?.isFlowing === true)
  }

  /** True if the group is paused, and no further handler starts. */
  get isPaused(): boolean {
    return this.#watch?.pause !== undefined && this.#run?.isHalted !== false
  }

  get running(): number {
    return this.#run?.running ?? 0
  }

  get idleReason(): string | undefined {
    return this.#watch?.reason ?? this.#run?.idleReason
  }

  get oldestTakenAt(): number | undefined {
    return this.#run?.oldestTakenAt
  }

  async stop(timeoutMs: number): Promise<number> {
    this.#stopRequested.abort()
    this.#over.abort()
    const unfinished = (await this.#run?.stop(timeoutMs)) ?? 0
    this.#started.resolve()
    this.#finished.resolve()
    return unfinished
  }

  async #live(): Promise<void> {
    const { connect, announce, loadWatch } = this.#parts
    const { signal } = this.#stopRequested
    if (!(await settledUntil(connect(), signal))) return
    const watch = await loadWatch()
    this.#watch = watch
    const { signal: over } = this.#over
    if (!(await settledUntil(Promise.all([watch.start(over), announce(over)]), signal))) return
    await (watch.staysInGroup ? this.#consumeHolding(watch, signal) : this.#consumeInTurns(watch, signal))
  }

  async #consumeInTurns(watch: PauseWatch, signal: AbortSignal): Promise<void> {
    const { createRun } = this.#parts
    while (!signal.aborted) {
      const isPaused = watch.pause !== undefined
      if (!isPaused) {
        const run = createRun()
        this.#run = run
        if (!(await this.#hasStarted(run, signal))) continue
      }
      this.#isRunning = true
      this.#started.resolve()
      await watch.whenPaused(!isPaused, signal)
      // Running handlers end, however long they take. A stop of the bus shortens this.
      if (!signal.aborted) await Promise.all([this.#run?.stop(Number.POSITIVE_INFINITY), this.#reportHalt()])
      if (!signal.aborted) this.#run = undefined
    }
  }

  async #consumeHolding(watch: PauseWatch, signal: AbortSignal): Promise<void> {
    const { createRun } = this.#parts
    if (signal.aborted) return
    const run = createRun()
    this.#run = run
    if (watch.pause !== undefined) run.hold()
    await run.started
    this.#isRunning = true
    this.#started.resolve()
    while (!signal.aborted) {
      const isPaused = watch.pause !== undefined
      if (isPaused) {
        run.hold()
        void this.#reportHalt()
      } else run.unhold()
      await watch.whenPaused(!isPaused, signal)
    }
  }

  /** Reports twice, unless nothing runs. */
  async #reportHalt(): Promise<void> {
    this.#parts.onHalted()
    if (this.running === 0) return
    while (this.running > 0) if (!(await sleep(HALT_POLL_MS, this.#over.signal))) return
    this.#parts.onHalted()
  }

  /** After a pause, the start is repeated until it succeeds. @throws what the first start fails with. */
  async #hasStarted(run: ConsumerRun, signal: AbortSignal): Promise<boolean> {
    try {
      await run.started
      this.#failures = 0
      return true
    } catch (thrown) {
      if (!this.#isRunning) throw thrown
      this.#failures += 1
      this.#parts.logger.error('cannot resume consuming', { failure: this.#failures, error: toError(thrown) })
      await sleep(START_BACKOFF.backoff(this.#failures), signal)
      return false
    }
  }
}
