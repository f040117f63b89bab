import { EventspineError, toError } from '../../errors.ts'
import { START_BACKOFF } from '../../kit/backoff.ts'
import { ResettablePromise } from '../../kit/resettable-promise.ts'
import { retryUntilDone } from '../../kit/retry-until-done.ts'
import { settledUntil } from '../../kit/time.ts'
import type { Logger } from '../../observability/logger.ts'
import type { GroupControlStore, GroupPause } from '../../transport/control.ts'
import type { Consumption, Intake, Transport } from '../../transport/transport.ts'
import type { BusCounters } from '../telemetry/bus-counters.ts'
import { ConsumerRun } from './consumer-run.ts'
import { PausableRun, type RunningConsumer } from './pausable-run.ts'
import type { PauseWatch, PauseWatchParts } from './pause-watch.ts'
import type { ConsumerPipeline } from './pipeline.ts'

export interface ConsumerLifecycleParts {
  readonly transport: Transport
  readonly createPipeline: () => ConsumerPipeline
  readonly connect: () => Promise<void>
  readonly announce: (stopped: AbortSignal) => Promise<void>
  readonly counters: BusCounters
  readonly logger: Logger
  /** Undefined if the group cannot be paused. */
  readonly loadControl: (() => Promise<GroupControlStore>) | undefined
  /** Called when the group is paused, and with undefined when it is resumed. */
  readonly onPause: (pause: GroupPause | undefined) => void
  /** Called when a pause has taken effect, and when the last handler has ended. */
  readonly onHalted: () => void
}

/** After this time, a wait for a consumption that nobody has started is logged, in milliseconds. */
const NOT_STARTED_MS = 5000

/** Starts and stops the consumption of a bus: at most one runs at a time, and each start can follow a stop. */
export class ConsumerLifecycle {
  readonly #parts: ConsumerLifecycleParts
  readonly #whenConsuming = new ResettablePromise()
  #run: RunningConsumer | undefined
  /** Those of `withConsumption`. */
  readonly #others = new Set<ConsumerRun>()
  #since: Date | undefined
  #stopRequested = new AbortController()
  /** The stop signal of the background start that is in progress. */
  #backgroundStart: AbortSignal | undefined
  /** True if a background start failed in a way that waiting does not fix: the bus should consume but will not. */
  #hasFailedToStart = false

  constructor(parts: ConsumerLifecycleParts) {
    this.#parts = parts
  }

  get isConsuming(): boolean {
    return this.#run?.isRunning ?? false
  }

  /** When the consumption was started that runs or ends; undefined if there is none. */
  get since(): Date | undefined {
    return this.#since
  }

  /** True if the consumption has noticed that the group is paused, and starts no further handler. */
  get isPaused(): boolean {
    return this.#run?.isPaused === true && [...this.#others].every(({ isHalted }) => isHalted)
  }

  /** Number of deliveries whose handlers run. */
  get running(): number {
    return [...this.#others].reduce((sum, { running }) => sum + running, this.#run?.running ?? 0)
  }

  /** True if deliveries can arrive; undefined if the bus is not supposed to consume. */
  get isFlowing(): boolean | undefined {
    const isWanted =
      this.#run?.isStopping === false || this.#backgroundStart !== undefined || this.#hasFailedToStart
    return isWanted ? (this.#run?.isFlowing ?? false) : undefined
  }

  /** Why no deliveries arrive although `isFlowing` is true; undefined if they arrive. */
  get idleReason(): string | undefined {
    return this.#run?.idleReason
  }

  /** When the longest-held delivery was taken, by the monotonic clock; undefined if none is held. */
  get oldestTakenAt(): number | undefined {
    return this.#run?.oldestTakenAt
  }

  /**
   * Resolves when the bus consumes; rejects if a start fails in a way that waiting does not fix, or with the error
   * passed to `close`.
   */
  get whenConsuming(): Promise<void> {
    const { promise } = this.#whenConsuming
    if (this.isFlowing === undefined) this.#warnIfNotStarted(promise)
    return promise
  }

  /** If a program forgot to start the consumption, it would wait without a reason in its log. */
  #warnIfNotStarted(promise: Promise<void>): void {
    const timer = setTimeout(() => {
      if (this.isFlowing === undefined)
        this.#parts.logger.warn(
          'whenConsuming waits, but consuming was not started; call startConsumingInBackground',
        )
    }, NOT_STARTED_MS).unref()
    const clear = () => clearTimeout(timer)
    promise.then(clear, clear)
  }

  /**
   * Consumes until `stop`, and then resolves. If a consumption is already running, the call resolves when that one
   * ends.
   */
  async start(): Promise<void> {
    const run = await this.#runUnless(this.#stopRequested.signal)
    try {
      await run?.finished
    } catch (error) {
      if (this.#backgroundStart === undefined) this.#whenConsuming.reject(toError(error))
      throw error
    }
  }

  /** Starts without waiting, and retries until the broker can be reached; no-op if a consumption runs or starts. */
  startInBackground(): void {
    const { signal } = this.#stopRequested
    if (this.#backgroundStart === signal || this.isConsuming) return
    this.#backgroundStart = signal
    this.#hasFailedToStart = false
    void this.#startUntilDone(signal).finally(() => {
      if (this.#backgroundStart === signal) this.#backgroundStart = undefined
    })
  }

  /** Stops within `timeoutMs`; no-op if nothing runs. */
  async stop(timeoutMs: number): Promise<void> {
    this.#hasFailedToStart = false
    this.#stopRequested.abort()
    this.#stopRequested = new AbortController()
    const runs = [...this.#others, ...(this.#run === undefined ? [] : [this.#run])]
    const counts = await Promise.all(runs.map((run) => run.stop(timeoutMs)))
    const unfinished = counts.reduce((sum, count) => sum + count, 0)
    if (unfinished > 0) {
      this.#parts.logger.warn('stopped consuming before all handlers had ended', { timeoutMs, unfinished })
    }
  }

  /** Rejects `whenConsuming` with this error. */
  close(error: Error): void {
    this.#whenConsuming.reject(error)
  }

  /**
   * Starts a consumption in addition to the one that runs. It stops when `work` has ended, and earlier if the group is
   * paused, with the end of its running handlers, or by `stop`. The bus is connected.
   * @returns undefined if the group is paused, or by a stop during the start.
   */
  async withConsumption<C extends Consumption, T>(
    start: (intake: Intake) => Promise<C>,
    work: (consumption: C) => Promise<T>,
    timeoutMs: number,
  ): Promise<T | undefined> {
    const { createPipeline, logger, loadControl } = this.#parts
    const { signal: stopped } = this.#stopRequested
    const over = new AbortController()
    const watch = loadControl && (await this.#loadWatch(loadControl, () => undefined))
    let run: ConsumerRun | undefined
    try {
      const isKnown = await settledUntil(watch?.start(over.signal) ?? Promise.resolve(), stopped)
      if (!isKnown || watch?.pause !== undefined) return undefined
      const started = Promise.withResolvers<C>()
      const consume = async (intake: Intake) => {
        const consumption = await start(intake)
        started.resolve(consumption)
        return consumption
      }
      const nothing = () => Promise.resolve()
      const pipeline = createPipeline()
      run = new ConsumerRun({ transport: { consume }, pipeline, logger, connect: nothing, announce: nothing })
      this.#others.add(run)
      void watch?.whenPaused(true, over.signal).then(() => run?.stop(Number.POSITIVE_INFINITY))
      return (await run.started) === undefined ? undefined : await work(await started.promise)
    } finally {
      over.abort()
      await run?.stop(timeoutMs)
      if (run !== undefined) this.#others.delete(run)
    }
  }

  /** The current run, or a new one once the previous has stopped; undefined if the signal aborts first. */
  async #runUnless(stopRequested: AbortSignal): Promise<RunningConsumer | undefined> {
    while (this.#run?.isStopping === true) await this.#run.finished
    if (stopRequested.aborted) return undefined
    return this.#run ?? this.#startRun()
  }

  #startRun(): RunningConsumer {
    const run = this.#createRun()
    this.#run = run
    this.#since = new Date()
    this.#whenConsuming.reset()
    void run.started.then(
      () => run.isRunning && this.#whenConsuming.resolve(),
      () => undefined,
    )
    const forget = () => {
      this.#run = undefined
      this.#since = undefined
      this.#whenConsuming.reset()
    }
    run.finished.then(forget, forget)
    return run
  }

  #createRun(): RunningConsumer {
    const { transport, createPipeline, logger, connect, announce, onPause, onHalted, loadControl } =
      this.#parts
    const shared = { transport, logger, connect }
    if (loadControl === undefined) return new ConsumerRun({ ...shared, pipeline: createPipeline(), announce })
    return new PausableRun({
      ...{ connect, announce, logger, onHalted },
      loadWatch: () => this.#loadWatch(loadControl, onPause),
      createRun: () =>
        new ConsumerRun({ ...shared, pipeline: createPipeline(), announce: () => Promise.resolve() }),
    })
  }

  async #loadWatch(
    loadControl: () => Promise<GroupControlStore>,
    onChange: PauseWatchParts['onChange'],
  ): Promise<PauseWatch> {
    const [loaded, store] = await Promise.all([import('./pause-watch.ts'), loadControl()])
    return new loaded.PauseWatch({ store, logger: this.#parts.logger, onChange })
  }

  /** Retries the start until it succeeds, the signal aborts, or it fails in a way that waiting does not fix. */
  async #startUntilDone(signal: AbortSignal): Promise<void> {
    const { counters, logger } = this.#parts
    try {
      await retryUntilDone(async () => (await this.#runUnless(signal))?.started, {
        backoff: START_BACKOFF,
        signal,
        onFailure: (error, failure) => {
          counters.failed(error)
          logger.error('cannot start consuming', { failure, error })
          if (isFinal(error)) throw error
        },
      })
    } catch (thrown) {
      this.#whenConsuming.reject(toError(thrown))
      this.#hasFailedToStart = true
    }
  }
}

/** True if waiting does not help: a wrong password, or a client that is not installed. */
function isFinal(error: Error): boolean {
  return error instanceof EventspineError && !error.retryable
}
