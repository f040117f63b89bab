import { EventspineError, toError } from '../../errors.ts'
import { START_BACKOFF } from '../../kit/backoff.ts'
import { Deadline } from '../../kit/deadline.ts'
import { ResettablePromise } from '../../kit/resettable-promise.ts'
import { retryUntilDone } from '../../kit/retry-until-done.ts'
import type { Logger } from '../../observability/logger.ts'
import type { GroupControlStore, GroupPause } from '../../transport/control.ts'
import type { Intake, Transport } from '../../transport/transport.ts'
import type { BusCounters } from '../telemetry/bus-counters.ts'
import { ConsumerRun } from './consumer-run.ts'
import { PausableRun, type RunningConsumer } from './pausable-run.ts'
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
}

/** Starts and stops the consumption of a bus: at most one runs at a time, and each start can follow a stop. */
export class ConsumerLifecycle {
  readonly #parts: ConsumerLifecycleParts
  readonly #whenConsuming = new ResettablePromise()
  #run: RunningConsumer | undefined
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

  /** True if the consumption has noticed that the group is paused. */
  get isPaused(): boolean {
    return this.#run?.isPaused === true
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
    return this.#whenConsuming.promise
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
    const unfinished = (await this.#run?.stop(timeoutMs)) ?? 0
    if (unfinished > 0) {
      this.#parts.logger.warn('stopped consuming before all handlers had ended', { timeoutMs, unfinished })
    }
  }

  /** Rejects `whenConsuming` with this error. */
  close(error: Error): void {
    this.#whenConsuming.reject(error)
  }

  /**
   * Handles the deliveries that `work` puts into an intake of its own, in addition to a running consumption. Those that
   * are not settled `timeoutMs` after `work` has ended stay unsettled.
   */
  async withIntake<T>(work: (intake: Intake) => Promise<T>, timeoutMs: number): Promise<T> {
    const pipeline = this.#parts.createPipeline()
    try {
      return await work(pipeline)
    } finally {
      pipeline.stopTaking()
      const deadline = new Deadline()
      deadline.within(timeoutMs)
      await pipeline.drain(deadline.signal)
      deadline.end()
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
    const { transport, createPipeline, logger, connect, announce, onPause, loadControl } = this.#parts
    const shared = { transport, logger, connect }
    if (loadControl === undefined) return new ConsumerRun({ ...shared, pipeline: createPipeline(), announce })
    return new PausableRun({
      ...{ connect, announce, logger },
      loadWatch: async () => {
        const [{ PauseWatch }, store] = await Promise.all([import('./pause-watch.ts'), loadControl()])
        return new PauseWatch({ store, logger, onChange: onPause })
      },
      createRun: () =>
        new ConsumerRun({ ...shared, pipeline: createPipeline(), announce: () => Promise.resolve() }),
    })
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
