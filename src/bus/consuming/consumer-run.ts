import { toError } from '../../errors.ts'
import { Deadline } from '../../kit/deadline.ts'
import { settledUntil } from '../../kit/time.ts'
import type { Logger } from '../../observability/logger.ts'
import type { Consumption, Transport } from '../../transport/transport.ts'
import type { ConsumerPipeline } from './pipeline.ts'

/** Time kept for giving back what is unsettled, out of a stop's time, in milliseconds. */
const RELEASE_MS = 1000

export interface ConsumerRunParts {
  readonly transport: Transport
  readonly pipeline: ConsumerPipeline
  readonly logger: Logger
  /** Called at once; its failure is the failure of the start. */
  readonly connect: () => Promise<void>
}

/** One consumption from its start to its stop. It can be stopped at any moment, also while it is starting. */
export class ConsumerRun {
  readonly #parts: ConsumerRunParts
  readonly #stopRequested = Promise.withResolvers<void>()
  readonly #finished = Promise.withResolvers<void>()
  readonly #starting: Promise<Consumption | undefined>
  readonly #drainBy = new Deadline()
  readonly #endBy = new Deadline()
  #isStopping = false
  #isRunning = false
  #consumption: Consumption | undefined
  #isOver = false
  #stopping: Promise<number> | undefined

  constructor(parts: ConsumerRunParts) {
    this.#parts = parts
    this.#starting = this.#start()
    this.#starting.catch(() => undefined)
    this.#finished.promise.catch(() => undefined)
  }

  /** Resolves when deliveries flow, or when it was stopped before; rejects when it cannot start. */
  get started(): Promise<unknown> {
    return this.#starting
  }

  /** Resolves when it has stopped; rejects when it could not start. */
  get finished(): Promise<void> {
    return this.#finished.promise
  }

  get isRunning(): boolean {
    return this.#isRunning && !this.#isStopping
  }

  /** True while it runs and deliveries can come. */
  get isFlowing(): boolean {
    return this.isRunning && this.#consumption?.isFlowing === true
  }

  get oldestTakenAt(): number | undefined {
    return this.#parts.pipeline.oldestTakenAt
  }

  get isStopping(): boolean {
    return this.#isStopping
  }

  /**
   * Stops it; a further call can only shorten the time. Never rejects: what fails on the way is logged.
   * @returns how many handlers were still running when the time was up.
   */
  stop(timeoutMs: number): Promise<number> {
    this.#drainBy.within(timeoutMs - Math.min(RELEASE_MS, timeoutMs / 4))
    this.#endBy.within(timeoutMs)
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #start(): Promise<Consumption | undefined> {
    const { connect, transport, pipeline } = this.#parts
    try {
      await Promise.race([connect(), this.#stopRequested.promise])
      if (this.#isStopping) return undefined
      const consumption = await transport.consume(pipeline)
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
    this.#stopRequested.resolve()
    const drainTime = this.#drainBy.signal
    const [unfinished] = await Promise.all([
      pipeline.drain(drainTime),
      settledUntil(this.#stopFetching(), drainTime),
    ])
    await settledUntil(this.#release(), this.#endBy.signal)
    this.#isOver = true
    this.#drainBy.end()
    this.#endBy.end()
    this.#finished.resolve()
    return unfinished
  }

  async #stopFetching(): Promise<void> {
    await this.#attempt('stopping to fetch failed', async () => (await this.#started())?.stopFetching())
  }

  async #release(): Promise<void> {
    const consumption = await this.#started()
    if (this.#isOver) return
    await this.#attempt('giving back unsettled messages failed', async () =>
      consumption?.release(this.#endBy.signal),
    )
  }

  /** Ends a consumption whose start outlasted the stop: nobody else knows it. */
  async #discard(consumption: Consumption): Promise<void> {
    await this.#attempt('ending a consumption that started too late failed', async () => {
      await consumption.stopFetching()
      await consumption.release(AbortSignal.timeout(RELEASE_MS))
    })
  }

  /** What was started; undefined when there is nothing to stop. A failed start is told by `started`. */
  #started(): Promise<Consumption | undefined> {
    return this.#starting.catch(() => undefined)
  }

  /** What fails here has no caller who could act on it, and must not keep the rest from being stopped. */
  async #attempt(sentence: string, action: () => Promise<unknown>): Promise<void> {
    try {
      await action()
    } catch (thrown) {
      this.#parts.logger.warn(sentence, { error: toError(thrown) })
    }
  }
}
