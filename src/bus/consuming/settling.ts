import type { DomainEvent } from '../../events/index.ts'
import type { FailurePolicies } from '../../handling/failure-policy.ts'
import { retryUntilDone } from '../../kit/retry-until-done.ts'
import type { Logger } from '../../observability/logger.ts'
import type { EventSpan } from '../../observability/tracer.ts'
import { MessageRefusedError } from '../../transport/errors.ts'
import { placesOf } from '../../transport/replay-headers.ts'
import type { DeadLetterReason, Delivery } from '../../transport/transport.ts'
import type { Wait } from '../../transport/waiting.ts'
import type { BusCounters } from '../telemetry/bus-counters.ts'
import type { BusMetrics } from '../telemetry/bus-metrics.ts'
import type { HandlingSlots } from './handling-slots.ts'
import type { HeldDeliveries } from './held-deliveries.ts'
import type { UnrecordedSuccesses } from './unrecorded-successes.ts'

export interface SettlingParts {
  readonly enableDlq: boolean
  readonly policies: FailurePolicies
  readonly held: HeldDeliveries
  readonly slots: HandlingSlots
  readonly unrecorded: UnrecordedSuccesses
  /** Aborts when the pipeline no longer waits for its handlers. */
  readonly abandoned: AbortSignal
  readonly counters: BusCounters
  readonly metrics: BusMetrics
  readonly logger: Logger
  /** Called when a message was stored for a long wait. */
  readonly onPostponed: (delayMs: number) => void
}

/** A delivery whose handling ends, with the values that are recorded for it. */
export interface Handled {
  readonly delivery: Delivery
  /** Undefined if the message could not be decoded. */
  readonly event: DomainEvent | undefined
  readonly span: EventSpan
  /** When its handling started, by the monotonic clock; undefined if no metrics are recorded. */
  readonly startedAt: number | undefined
}

/**
 * Settles deliveries: by acknowledgment, by dead letter, or by dropping them if the dead letter queue is off. If the
 * broker does not accept a step, it is retried until the broker does, so an event that cannot be settled is kept.
 */
export class Settling {
  readonly #parts: SettlingParts

  constructor(parts: SettlingParts) {
    this.#parts = parts
  }

  /** Acknowledges a message after all handlers have succeeded. */
  succeed(delivery: Delivery, event: DomainEvent, startedAt: number | undefined): void {
    const { held, metrics, counters, unrecorded } = this.#parts
    delivery.ack()
    unrecorded.forget(delivery, event)
    if (held.isReleased) return
    metrics.recorder?.handled(event, 'success', undefined, startedAt)
    counters.eventsProcessedSuccess += 1
    held.settled(delivery)
  }

  /**
   * The same for a message with places in orders of its aggregate. The next ones follow first.
   * @param waiting - names of the handlers for which the message waits.
   */
  async succeedInOrder(
    { delivery, event, startedAt }: Handled & { readonly event: DomainEvent },
    waiting: readonly string[],
  ): Promise<void> {
    if (await this.#passOn(delivery, waiting)) this.succeed(delivery, event, startedAt)
  }

  /**
   * Acknowledges a message that was stored to wait. It is counted when the wait is over.
   * @param waiting - names of the handlers for which it waits.
   */
  async moved({ delivery, event, startedAt }: Handled, waiting: readonly string[]): Promise<void> {
    const { held, metrics, unrecorded } = this.#parts
    if (!(await this.#passOn(delivery, waiting))) return
    delivery.ack()
    if (event !== undefined) unrecorded.forget(delivery, event)
    if (held.isReleased) return
    metrics.recorder?.handled(event, 'postponed', undefined, startedAt)
    held.giveBack(delivery)
  }

  /** Stores a copy of the message for a long wait of one handler. @returns false if the delivery must not be handled. */
  async postpone(delivery: Delivery, wait: Wait): Promise<boolean> {
    const dueAt = performance.now() + wait.delayMs
    const isStored = await this.#retryUntilDone(
      'postponing failed',
      delivery,
      // The registry refuses long waits if the transport cannot store messages.
      async () =>
        (await delivery.postpone?.({ ...wait, delayMs: Math.max(0, dueAt - performance.now()) })) ?? false,
    )
    if (isStored) this.#parts.onPostponed(wait.delayMs)
    return isStored
  }

  /**
   * Stores a copy of the message behind those that wait in order for the handler.
   * @returns how many are before it: 0 if none waits, `limit` or more if it is not stored because so many wait; undefined if
   * the delivery must not be handled.
   */
  async waitBehind(delivery: Delivery, handlerName: string, limit: number): Promise<number | undefined> {
    let before = 0
    const isDone = await this.#retryUntilDone(
      'looking for earlier waiting events failed',
      delivery,
      async () => {
        const outcome = await delivery.waitBehind?.(handlerName, limit)
        before = outcome ?? 0
        return outcome !== undefined
      },
    )
    return isDone ? before : undefined
  }

  /**
   * Lets the next messages of the aggregate follow. If it came after the settling, a crash in between would stop them.
   * @param except - names of the handlers for which they still wait.
   */
  async #passOn(delivery: Delivery, except: readonly string[]): Promise<boolean> {
    if ([...placesOf(delivery.replayTarget).keys()].every((name) => except.includes(name))) return true
    const isDone = await this.#retryUntilDone(
      'letting the next waiting event follow failed',
      delivery,
      async () => (await delivery.passOn?.(except)) ?? true,
    )
    if (isDone) this.#parts.onPostponed(0)
    return isDone
  }

  /** Acknowledges a message that no handler is subscribed to. */
  skip(delivery: Delivery): void {
    this.#parts.counters.eventsSkipped += 1
    delivery.ack()
  }

  /**
   * Moves the message to the dead letter queue, or drops it with a log line if the queue is off.
   * @param waiting - names of the handlers for which the message waits.
   */
  async giveUp(
    { delivery, event, span, startedAt }: Handled,
    reason: DeadLetterReason,
    waiting: readonly string[] = [],
  ): Promise<void> {
    const { enableDlq, counters, held, logger, metrics, slots, unrecorded } = this.#parts
    if (!(await this.#passOn(delivery, [...(reason.parkedFor ?? []), ...waiting]))) return
    const fields = logFields(delivery, event, reason)
    counters.failed(reason)
    if (enableDlq) {
      const isStored = await this.#retryUntilDone('dead-lettering failed', delivery, () =>
        slots.without(() => delivery.deadLetter(reason)),
      )
      if (!isStored) return
      counters.messagesSentToDlq += 1
      logger.error('event dead-lettered', fields)
      span.fail(`dead-lettered: ${reason.kind}`)
    } else {
      logger.error('event dropped because the dead letter queue is off', fields)
      span.fail(`dropped: ${reason.kind}`)
      delivery.ack()
    }
    if (event !== undefined) unrecorded.forget(delivery, event)
    if (held.isReleased) return
    const outcome = enableDlq ? 'dead_lettered' : 'dropped'
    metrics.recorder?.handled(event, outcome, reason.kind, startedAt)
    counters.eventsProcessedFailed += 1
    held.settled(delivery)
  }

  /** Records that an attempt starts. @returns false if the delivery must not be handled. */
  beginAttempt(delivery: Delivery, attempt: number, recorded: readonly string[]): Promise<boolean> {
    return this.#record(delivery, () => delivery.beginAttempt(attempt, recorded))
  }

  /** Records that an attempt failed and another will follow. @returns false if the delivery must not be handled. */
  attemptFailed(delivery: Delivery, attempt: number, recorded: readonly string[]): Promise<boolean> {
    return this.#record(delivery, () => delivery.attemptFailed(attempt, recorded))
  }

  #record(delivery: Delivery, action: () => Promise<boolean>): Promise<boolean> {
    return this.#retryUntilDone('recording an attempt failed', delivery, action)
  }

  /**
   * Retries until the broker answers. Gives the delivery back if another consumer has taken over the message.
   * @returns false in that case, and if the pipeline stops first.
   */
  async #retryUntilDone(what: string, delivery: Delivery, action: () => Promise<boolean>): Promise<boolean> {
    const { policies, slots, abandoned, held } = this.#parts
    const outcome = await retryUntilDone(action, {
      backoff: policies.default.retry,
      signal: abandoned,
      sleep: (ms) => slots.pause(ms),
      onFailure: (error, failure) => this.#reportFailure(what, delivery, error, failure),
    })
    if (outcome?.value === false) held.giveBack(delivery)
    return outcome?.value === true
  }

  #reportFailure(what: string, delivery: Delivery, error: Error, failure: number): void {
    const { counters, logger } = this.#parts
    counters.failed(error)
    // A refusal persists until an operator acts, so it is logged as an error.
    const level = error instanceof MessageRefusedError ? 'error' : 'warn'
    logger[level](`${what}, retrying`, { messageId: delivery.message.id, failure, error })
  }
}

function logFields({ message }: Delivery, event: DomainEvent | undefined, reason: DeadLetterReason) {
  return {
    messageId: message.id,
    eventId: event?.eventId ?? message.headers['event_id'],
    eventType: event?.eventType ?? message.headers['event_type'],
    reason: reason.kind,
    handlers: reason.handlerNames,
    attempts: reason.attempts,
    ...((reason.parkedFor ?? []).length > 0 && { parkedFor: reason.parkedFor }),
    error: `${reason.errorName}: ${reason.errorMessage}`,
  }
}
