import { toError } from '../../errors.ts'
import { Deadline } from '../../kit/deadline.ts'
import { settledUntil } from '../../kit/time.ts'
import type { Logger } from '../../observability/logger.ts'
import type { Consumption, Transport } from '../../transport/transport.ts'
import type { ConsumerPipeline } from './pipeline.ts'

/** Part of a stop's timeout that is reserved for returning unsettled messages, in milliseconds. */
const RELEASE_MS = 1000

export interface ConsumerRunParts {
  readonly transport: Pick<Transport, 'consume'>
  readonly pipeline: ConsumerPipeline
  readonly logger: Logger
  /** Called at once. If it rejects, the start fails. */
  readonly connect: () => Promise<void>
  /** Announces the handled types to the group, until the signal aborts. If it rejects, the start fails. */
  readonly announce: (stopped: AbortSignal) => Promise<void>
}

/** One consumption from its start to its stop. It can be stopped at any time, even while it starts. */
export class ConsumerRun {
  readonly #parts: ConsumerRunParts
  readonly #stopRequested = new AbortController()
  readonly #finished = Promise.withResolvers<void>()
  readonly #starting: Promise<Consumption | undefined>
  readonly #drainBy = new Deadline()
  readonly #endBy = new Deadline()
  #isStopping = false
  #isRunning = false
  #isHeld = false
  #consumption: Consumption | undefined
  #isOver = false
  #stopping: Promise<number> | undefined

  constructor(parts: ConsumerRunParts) {
    this.#parts = parts
    this.#starting = this.#start()
    this.#starting.catch(() => undefined)
    this.#finished.promise.catch(() => undefined)
  }

  /** Resolves when deliveries can arrive, or when the run was stopped before that. Rejects if it cannot start. */
  get started(): Promise<unknown> {
    return this.#starting
  }

  /** Resolves when the run has stopped. Rejects if it could not start. */
  get finished(): Promise<void> {
    return this.#finished.promise
  }

  get isRunning(): boolean {
    return this.#isRunning && !this.#isStopping
  }

  /** True while it runs and deliveries can arrive. */
  get isFlowing(): boolean {
    return this.isRunning && this.#consumption?.isFlowing === true
  }

  /** Why no deliveries arrive although `isFlowing` is true; undefined if they arrive. */
  get idleReason(): string | undefined {
    return this.#consumption?.idleReason
  }

  get oldestTakenAt(): number | undefined {
    return this.#parts.pipeline.oldestTakenAt
  }

  get isStopping(): boolean {
    return this.#isStopping
  }

  /** True if no further handler starts: it stops, or holds its deliveries. */
  get isHalted(): boolean {
    return this.#isStopping || this.#isHeld
  }

  /** Number of deliveries whose handlers run. */
  get running(): number {
    return this.#parts.pipeline.running
  }

  /** Holds its deliveries and takes no further ones until `unhold`. */
  hold(): void {
    this.#isHeld = true
    this.#parts.pipeline.hold()
  }

  unhold(): void {
    this.#isHeld = false
    this.#parts.pipeline.unhold()
  }

  /**
   * Stops within `timeoutMs`; a further call can only shorten that time. Never rejects: failures are logged.
   * @returns the number of deliveries that were still being handled at the timeout.
   */
  stop(timeoutMs: number): Promise<number> {
    this.#drainBy.within(timeoutMs - Math.min(RELEASE_MS, timeoutMs / 4))
    this.#endBy.within(timeoutMs)
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #start(): Promise<Consumption | undefined> {
    const { connect, announce, transport, pipeline } = this.#parts
    try {
      const { signal } = this.#stopRequested
      if (!(await settledUntil(connect(), signal))) return undefined
      if (!(await settledUntil(announce(signal), signal))) return undefined
      const consumption = await transport.consume(pipeline, signal)
      this.#isRunning = true
      this.#consumption = consumption
      if (this.#isOver) await this.#discard(consumption)
      return consumption
    } catch (error) {
      this.#finished.reject(error)
      throw error
    }
  }

  async #stop(): Promise<number> {
    const { pipeline } = this.#parts
    this.#isStopping = true
    pipeline.stopTaking()
    this.#stopRequested.abort()
    const { signal: drainSignal } = this.#drainBy
    const [unfinished] = await Promise.all([
      pipeline.drain(drainSignal),
      settledUntil(this.#stopFetching(), drainSignal),
    ])
    await settledUntil(this.#release(), this.#endBy.signal)
    this.#isOver = true
    this.#drainBy.end()
    this.#endBy.end()
    this.#finished.resolve()
    return unfinished
  }

  async #stopFetching(): Promise<void> {
    await this.#attempt('failed to stop fetching', async () => (await this.#started())?.stopFetching())
  }

  async #release(): Promise<void> {
    const consumption = await this.#started()
    if (this.#isOver) return
    await this.#attempt('failed to return unsettled messages', async () =>
      consumption?.release(this.#endBy.signal),
    )
  }

  /** Stops a consumption whose start outlasted the stop of this run. */
  async #discard(consumption: Consumption): Promise<void> {
    await this.#attempt('failed to stop a consumption that started too late', async () => {
      await consumption.stopFetching()
      await consumption.release(AbortSignal.timeout(RELEASE_MS))
    })
  }

  /** The consumption; undefined if there is none to stop. `started` reports a failed start. */
  #started(): Promise<Consumption | undefined> {
    return this.#starting.catch(() => undefined)
  }

  /** Runs an action and logs its failure: no caller could act on it, and the other steps of the stop must follow. */
  async #attempt(sentence: string, action: () => Promise<unknown>): Promise<void> {
    try {
      await action()
    } catch (thrown) {
      this.#parts.logger.warn(sentence, { error: toError(thrown) })
    }
  }
}
