import type { DomainEvent } from '../events/index.ts'
import type { Dispatcher, HandlerFailure } from '../handling/dispatcher.ts'
import { FailurePolicies } from '../handling/failure-policy.ts'
import { HandlerRetries, type RetrySteps } from '../handling/handler-retries.ts'
import type { RunInfo } from '../handling/handler-run.ts'
import { sleep } from '../kit/time.ts'
import type { Logger } from '../observability/logger.ts'
import type { BusMetrics } from './telemetry/bus-metrics.ts'

/** What a handler has by default: the bus cannot keep an event for a retry. */
const ONE_ATTEMPT = { maxRetries: 0, retryBaseDelayMs: 1000, retryMaxDelayMs: 60_000, retryJitter: 0.1 }

export interface InMemoryRetriesParts {
  readonly dispatcher: Dispatcher
  readonly runInfo: RunInfo
  readonly metrics: BusMetrics
  readonly logger: Logger
}

/** The further attempts of handlers on an in-memory bus. They run while the publish of the event waits. */
export class InMemoryRetries {
  readonly #parts: InMemoryRetriesParts
  readonly #policies: FailurePolicies
  #eventsDiscarded = 0

  constructor(parts: InMemoryRetriesParts) {
    this.#parts = parts
    this.#policies = new FailurePolicies(ONE_ATTEMPT, parts.logger)
  }

  get eventsDiscarded(): number {
    return this.#eventsDiscarded
  }

  /** @returns true if no handler was given up. */
  readonly recover = async (event: DomainEvent, failures: readonly HandlerFailure[]): Promise<boolean> => {
    const givenUp = await new HandlerRetries(this.#policies, this.#stepsOf(event)).run(failures, () => 1)
    return givenUp?.length === 0
  }

  #stepsOf(event: DomainEvent): RetrySteps {
    const { dispatcher, runInfo } = this.#parts
    const { busSignal } = runInfo
    return {
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
