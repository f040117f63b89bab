import type { DomainEvent } from '../../events/index.ts'
import type { Dispatcher } from '../../handling/dispatcher.ts'
import { namesOf } from '../../handling/handler-entry.ts'
import type { HandlerFailure } from '../../handling/handler-failure.ts'
import {
  isProbe,
  type NextAttempt,
  type PostponedAttempt,
  type RetryProgress,
  type RetrySteps,
} from '../../handling/handler-retries.ts'
import type { RunInfo } from '../../handling/handler-run.ts'
import { keepsOrder } from '../../handling/waiting-policy.ts'
import type { Logger } from '../../observability/logger.ts'
import type { EventSpan } from '../../observability/tracer.ts'
import type { Delivery } from '../../transport/transport.ts'
import type { BusCounters } from '../telemetry/bus-counters.ts'
import type { BusMetrics } from '../telemetry/bus-metrics.ts'
import { readAttempts, withAttempts } from './attempt-record.ts'
import type { HandlingSlots } from './handling-slots.ts'
import { type PendingHandlers, settledNames } from './pending-handlers.ts'
import type { Settling } from './settling.ts'
import type { UnrecordedSuccesses } from './unrecorded-successes.ts'

/** A delivery with failed handlers. */
export interface FailedHandling {
  readonly delivery: Delivery
  readonly event: DomainEvent
  /** The handlers that have not succeeded in an earlier delivery. */
  readonly pending: PendingHandlers
  readonly span: EventSpan
}

/** A delivery whose failed handlers get further attempts. */
export interface RetriedHandling extends FailedHandling {
  readonly firstFailedAt: Date
}

export interface DeliveryRetriesParts {
  readonly dispatcher: Dispatcher
  readonly counters: BusCounters
  readonly metrics: BusMetrics
  readonly logger: Logger
  readonly slots: HandlingSlots
  readonly settling: Settling
  readonly unrecorded: UnrecordedSuccesses
  /** Aborts when no further handler may start. */
  readonly stopping: AbortSignal
  /** Aborts when the pipeline no longer waits for its handlers. */
  readonly abandoned: AbortSignal
}

/** What the retries of one delivery ask of the pipeline. Records each attempt of the delivery with the broker. */
export class DeliveryRetries implements RetrySteps {
  readonly #handling: RetriedHandling
  readonly #parts: DeliveryRetriesParts
  readonly #runInfo: (attempt: number) => RunInfo
  /** Number of the delivery's last attempt: it counts those of all handlers. */
  #attempt: number

  /** Names of the handlers for which the event was stored for a later attempt. */
  readonly postponed: string[] = []

  constructor(handling: RetriedHandling, parts: DeliveryRetriesParts, runInfo: (attempt: number) => RunInfo) {
    this.#handling = handling
    this.#parts = parts
    this.#runInfo = runInfo
    this.#attempt = handling.delivery.deliveryCount
  }

  get event(): DomainEvent {
    return this.#handling.event
  }

  get stopping(): AbortSignal {
    return this.#parts.stopping
  }

  // A handler that failed because the shutdown aborted its signal is not at fault.
  get isAbandoned(): boolean {
    return this.#parts.abandoned.aborted
  }

  sleep(ms: number, ended: AbortSignal): Promise<boolean> {
    return this.#parts.slots.sleep(ms, ended)
  }

  enter(): Promise<void> {
    return this.#parts.slots.slots.taken()
  }

  leave(): void {
    this.#parts.slots.slots.release()
  }

  waiting(progress: RetryProgress): Promise<boolean> {
    const { settling } = this.#parts
    return settling.attemptFailed(
      this.#handling.delivery,
      this.#attempt,
      this.#record(this.#attempt, progress),
    )
  }

  async starting(next: NextAttempt, progress: RetryProgress): Promise<boolean> {
    const { handlers, delayMs } = next
    const { counters, metrics, settling } = this.#parts
    const { delivery, event, span } = this.#handling
    const ended = this.#attempt - progress.running
    const isUncounted = progress.running === 0 && isProbe(handlers)
    const recorded = this.#record(isUncounted ? ended + 1 : ended, progress)
    this.#attempt += 1
    const attempt = this.#attempt
    if (!(await settling.beginAttempt(delivery, attempt, recorded))) return false
    counters.eventsRetried += 1
    metrics.recorder?.retried(event)
    span.addEvent('retry', () => ({
      'eventspine.attempt': attempt,
      'eventspine.retry.delay': delayMs / 1000,
      'eventspine.handler.name': handlers.map(({ name }) => name),
    }))
    return true
  }

  async run({ handlers, attempt }: NextAttempt): Promise<readonly HandlerFailure[]> {
    const { dispatcher, unrecorded } = this.#parts
    const { delivery, event } = this.#handling
    const failures = await dispatcher.run(handlers, event, this.#runInfo(attempt))
    unrecorded.add(delivery, event, handlers, failures)
    return failures
  }

  discarded({ handler, error }: HandlerFailure, attempt: number): void {
    const { counters, metrics, logger } = this.#parts
    const { event, delivery } = this.#handling
    const { eventId, eventType } = event
    counters.eventsDiscarded += 1
    metrics.recorder?.discarded(event, handler.name)
    const at = { messageId: delivery.message.id, eventId, eventType, handlerName: handler.name, attempt }
    logger.warn('event discarded', { ...at, error })
  }

  async postpone({ handler, attempts, delayMs }: PostponedAttempt): Promise<boolean> {
    const { counters, logger, settling } = this.#parts
    const { delivery, event, firstFailedAt } = this.#handling
    // A handler has long waits only if it has a name.
    const handlerName = handler.id ?? handler.name
    const wait = { handlerName, attempts, firstFailedAt, delayMs, keepsOrder: keepsOrder(handler) }
    if (!(await settling.postpone(delivery, wait))) return false
    this.postponed.push(...namesOf(handler))
    counters.eventsPostponed += 1
    const { eventId, eventType } = event
    const at = { messageId: delivery.message.id, eventId, eventType, handlerName: handler.name, attempts }
    logger.info('event postponed', { ...at, delayMs: Math.round(delayMs) })
    return true
  }

  /** The names and attempts to record. */
  #record(ended: number, { unfinished, givenUp }: RetryProgress): readonly string[] {
    const { pending } = this.#handling
    const open = [...unfinished.keys(), ...givenUp.map(({ handler }) => handler)]
    const earlier = readAttempts(pending.recorded).settled
    const settled = [...earlier, ...(pending.moved ?? []), ...settledNames(pending.handlers, open)]
    return withAttempts(settled, ended, unfinished)
  }
}
