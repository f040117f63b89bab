import type { ConsumerPipeline } from './pipeline.ts'
import { whenSettled } from './time.ts'
import type { Consumption, Transport } from './transport.ts'

/** Time kept for giving back what is unsettled, out of a stop's time, in milliseconds. */
const RELEASE_MS = 1000

/** One consumption from its start to its stop. It can be stopped at any moment, also while it is starting. */
export class ConsumerRun {
  readonly #transport: Transport
  readonly #pipeline: ConsumerPipeline
  readonly #stopRequested = Promise.withResolvers<void>()
  readonly #finished = Promise.withResolvers<void>()
  readonly #starting: Promise<Consumption | undefined>
  #isStopping = false
  #isRunning = false
  #stopping: Promise<number> | undefined

  /** @param connect - called at once; its failure is the failure of the start. */
  constructor(transport: Transport, pipeline: ConsumerPipeline, connect: () => Promise<void>) {
    this.#transport = transport
    this.#pipeline = pipeline
    this.#starting = this.#start(connect)
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

  /** @returns how many handlers were still running when the time was up. */
  stop(timeoutMs: number): Promise<number> {
    this.#stopping ??= this.#stop(timeoutMs)
    return this.#stopping
  }

  async #start(connect: () => Promise<void>): Promise<Consumption | undefined> {
    try {
      await Promise.race([connect(), this.#stopRequested.promise])
      if (this.#isStopping) return undefined
      const consumption = await this.#transport.consume(this.#pipeline)
      this.#isRunning = true
      return consumption
    } catch (error) {
      this.#finished.reject(error)
      throw error
    }
  }

  async #stop(timeoutMs: number): Promise<number> {
    const deadline = Date.now() + timeoutMs
    this.#isStopping = true
    this.#pipeline.stopTaking()
    this.#stopRequested.resolve()
    const unfinished = await this.#settle(deadline, timeoutMs)
    this.#finished.resolve()
    return unfinished
  }

  async #settle(deadline: number, timeoutMs: number): Promise<number> {
    const reserveMs = Math.min(RELEASE_MS, timeoutMs / 4)
    const drainMs = timeoutMs - reserveMs
    const [unfinished] = await Promise.all([
      this.#pipeline.drain(drainMs),
      whenSettled(this.#stopFetching(), drainMs).catch(() => undefined),
    ])
    const consumption = await this.#consumption(reserveMs)
    if (consumption !== undefined) {
      const remainingMs = Math.max(1, deadline - Date.now())
      await whenSettled(consumption.release(AbortSignal.timeout(remainingMs)), remainingMs)
    }
    return unfinished
  }

  async #stopFetching(): Promise<void> {
    const consumption = await this.#starting
    await consumption?.stopFetching()
  }

  /** What was started, if it was by now. */
  async #consumption(waitMs: number): Promise<Consumption | undefined> {
    const starting = this.#starting.catch(() => undefined)
    return (await whenSettled(starting, waitMs)) ? starting : undefined
  }
}
