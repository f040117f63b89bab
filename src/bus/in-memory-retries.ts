import type { DomainEvent } from '../events/index.ts'
import type { Dispatcher } from '../handling/dispatcher.ts'
import { FailurePolicies } from '../handling/failure-policy.ts'
import type { HandlerFailure } from '../handling/handler-failure.ts'
import { HandlerRetries, type PostponedAttempt, type RetrySteps } from '../handling/handler-retries.ts'
import type { RunInfo } from '../handling/handler-run.ts'
import { IdleCounter } from '../kit/idle-counter.ts'
import { sleep } from '../kit/time.ts'
import type { Logger } from '../observability/logger.ts'
import type { BusMetrics } from './telemetry/bus-metrics.ts'

/** What a handler has by default: the bus cannot keep an event for a retry. */
const ONE_ATTEMPT = { maxRetries: 0, retryBaseDelayMs: 1000, retryMaxDelayMs: 60_000, retryJitter: 0.1 }

/** Maximum number of events that wait outside of their publishes. Beyond it, the publishes of further events wait. */
const MAX_WAITING = 10_000

/** An attempt that is due after a long wait. */
interface Waiting {
  /** When the first attempt failed, by the monotonic clock. */
  readonly failedAt: number
}

export interface InMemoryRetriesParts {
  readonly dispatcher: Dispatcher
  readonly runInfo: RunInfo
  readonly metrics: BusMetrics
  readonly logger: Logger
}

/** The further attempts of handlers on an in-memory bus. Except after long waits, the publish of the event waits for them. */
export class InMemoryRetries {
  readonly #parts: InMemoryRetriesParts
  readonly #policies: FailurePolicies
  #eventsDiscarded = 0
  /** Attempts that are due after a long wait, each with the time of the first failure. */
  readonly #waiting = new Set<Waiting>()
  readonly #running = new IdleCounter()
  readonly #closed = new AbortController()

  constructor(parts: InMemoryRetriesParts) {
    this.#parts = parts
    this.#policies = new FailurePolicies(ONE_ATTEMPT, parts.logger)
  }

  get eventsDiscarded(): number {
    return this.#eventsDiscarded
  }

  /** Number of attempts that are due after a long wait. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** Time since the first failure of the oldest of them, in milliseconds; 0 if there is none. */
  get oldestWaitingMs(): number {
    let oldest = performance.now()
    for (const { failedAt } of this.#waiting) oldest = Math.min(oldest, failedAt)
    return performance.now() - oldest
  }

  /** @returns true if no handler was given up. */
  readonly recover = async (event: DomainEvent, failures: readonly HandlerFailure[]): Promise<boolean> => {
    const givenUp = await new HandlerRetries(this.#policies, this.#stepsOf(event, performance.now())).run(
      failures,
      () => 1,
    )
    return givenUp?.length === 0
  }

  /** Ends all long waits, and resolves when the attempts that have started are over. */
  async close(): Promise<void> {
    const waiting = this.#waiting.size
    this.#closed.abort()
    if (waiting > 0) {
      this.#parts.logger.error('events lost that waited for their next attempt in memory', { count: waiting })
    }
    await this.#running.whenIdle()
  }

  /** Runs the handler again after its wait, while no publish waits for it. Never rejects. */
  async #continueLater(
    event: DomainEvent,
    { handler, attempts, delayMs }: PostponedAttempt,
    failedAt: number,
  ): Promise<void> {
    const { dispatcher, runInfo } = this.#parts
    const wait = { failedAt }
    this.#waiting.add(wait)
    const isOver = await sleep(delayMs, this.#closed.signal)
    this.#waiting.delete(wait)
    if (!isOver) return
    const attempt = attempts + 1
    const again = async () => {
      const failures = await dispatcher.run([handler], event, { ...runInfo, attempt })
      if (failures.length === 0) return
      await new HandlerRetries(this.#policies, this.#stepsOf(event, failedAt)).run(failures, () => attempt)
    }
    await this.#running.track(again())
  }

  #postpone(event: DomainEvent, failedAt: number): RetrySteps['postpone'] {
    if (this.#waiting.size >= MAX_WAITING || this.#closed.signal.aborted) return undefined
    return (attempt) => {
      void this.#continueLater(event, attempt, failedAt)
      return Promise.resolve(true)
    }
  }

  /** @param failedAt - when the first attempt failed, by the monotonic clock. */
  #stepsOf(event: DomainEvent, failedAt: number): RetrySteps {
    const { dispatcher, runInfo } = this.#parts
    const { busSignal } = runInfo
    const postpone = this.#postpone(event, failedAt)
    return {
      ...(postpone && { postpone }),
      sleep: (ms, ended) => sleep(ms, busSignal, ended),
      event,
      stopping: busSignal,
      enter: () => Promise.resolve(),
      leave: () => undefined,
      waiting: () => Promise.resolve(true),
      starting: () => Promise.resolve(true),
      run: ({ handlers, attempt }) => dispatcher.run(handlers, event, { ...runInfo, attempt }),
      discarded: (failure, attempt) => this.#discarded(event, failure, attempt),
      get isAbandoned() {
        return busSignal.aborted
      },
    }
  }

  #discarded(event: DomainEvent, { handler, error }: HandlerFailure, attempt: number): void {
    const { metrics, logger } = this.#parts
    this.#eventsDiscarded += 1
    metrics.recorder?.discarded(event, handler.name)
    const { eventId, eventType } = event
    logger.warn('event discarded', { eventId, eventType, handlerName: handler.name, attempt, error })
  }
}
