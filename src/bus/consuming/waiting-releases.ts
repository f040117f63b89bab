import { toError } from '../../errors.ts'
import type { HandlerRegistry } from '../../handling/handler-registry.ts'
import { START_BACKOFF } from '../../kit/backoff.ts'
import { sleep } from '../../kit/time.ts'
import type { Logger } from '../../observability/logger.ts'
import type { WaitingStore } from '../../transport/waiting.ts'
import type { BusCounters } from '../telemetry/bus-counters.ts'

/** Interval between two looks at the store, in milliseconds. Other members of the group store messages, too. */
const POLL_MS = 5000
/** The same while no event may wait for a handler: an earlier release may have left messages. */
const IDLE_POLL_MS = 60_000

export interface WaitingReleasesParts {
  /** Undefined if the transport cannot keep messages during long waits. */
  readonly store: WaitingStore | undefined
  readonly handlers: HandlerRegistry
  readonly counters: BusCounters
  readonly logger: Logger
}

/** Delivers messages to the group when their long waits are over. */
export class WaitingReleases {
  readonly #parts: WaitingReleasesParts
  #isPrepared = false
  /** When the next look is due, by the monotonic clock. */
  #nextAt = 0
  #wake = new AbortController()

  constructor(parts: WaitingReleasesParts) {
    this.#parts = parts
  }

  /**
   * Prepares the store if events may wait for a handler, then delivers messages in the background until the signal aborts.
   * @throws ConnectionError
   */
  async start(stopped: AbortSignal): Promise<void> {
    const { store } = this.#parts
    if (store === undefined) return
    await this.#prepare(store)
    store.onReady = () => this.expect(0)
    void this.#run(store, stopped)
  }

  /** A message was stored whose wait is over after `delayMs`. */
  expect(delayMs: number): void {
    const at = performance.now() + delayMs
    if (at >= this.#nextAt) return
    this.#nextAt = at
    this.#wake.abort()
  }

  async #prepare(store: WaitingStore): Promise<void> {
    if (this.#isPrepared || !this.#parts.handlers.hasWaits) return
    await store.prepare()
    this.#isPrepared = true
  }

  async #run(store: WaitingStore, stopped: AbortSignal): Promise<void> {
    const { handlers } = this.#parts
    let failures = 0
    while (!stopped.aborted) {
      this.#nextAt = performance.now() + (handlers.hasWaits ? POLL_MS : IDLE_POLL_MS)
      try {
        await this.#prepare(store)
        const nextMs = await store.release()
        if (nextMs !== undefined) this.expect(nextMs)
        failures = 0
      } catch (thrown) {
        failures += 1
        this.#failed(toError(thrown), failures)
        this.expect(START_BACKOFF.backoff(failures))
      }
      await this.#untilDue(stopped)
    }
  }

  async #untilDue(stopped: AbortSignal): Promise<void> {
    for (;;) {
      this.#wake = new AbortController()
      const ms = this.#nextAt - performance.now()
      if (ms <= 0 || stopped.aborted) return
      await sleep(Math.ceil(ms), stopped, this.#wake.signal)
    }
  }

  #failed(error: Error, failure: number): void {
    const { handlers, counters, logger } = this.#parts
    // If none may wait, the rights may not include the store, in which nothing waits then.
    if (!handlers.hasWaits) return
    counters.failed(error)
    logger.error('delivering events after their long waits failed, retrying', { failure, error })
  }
}
