import { DecodeError, type EventCodec } from '../../codec/index.ts'
import { newerVersionFault } from '../../codec/revive.ts'
import { toError } from '../../errors.ts'
import type { DomainEvent } from '../../events/index.ts'
import type { Dispatcher, HandlerFailure } from '../../handling/dispatcher.ts'
import type { HandlerEntry } from '../../handling/handler-entry.ts'
import type { HandlerRegistry } from '../../handling/handler-registry.ts'
import type { RunInfo } from '../../handling/handler-run.ts'
import type { RetryPolicy } from '../../kit/retry-policy.ts'
import { type EventSpan, type EventTracer, NO_SPAN, type SpanKindOf } from '../../observability/tracer.ts'
import type { DeadLetterReason, Delivery } from '../../transport/transport.ts'
import type { NewerVersions } from '../broker-options.ts'
import type { BusCounters } from '../telemetry/bus-counters.ts'
import type { BusMetrics } from '../telemetry/bus-metrics.ts'
import { type ConsumeSubject, consumeSpanOf, type MessagingTarget } from '../telemetry/bus-spans.ts'
import { deliveryLimit, exhausted, handlerGone, poison, settledNames } from './dead-letter-reasons.ts'
import type { HandlingSlots } from './handling-slots.ts'
import type { HeldDeliveries } from './held-deliveries.ts'
import { type PendingHandlers, pendingHandlers } from './pending-handlers.ts'
import type { Settling } from './settling.ts'
import type { UnhandledMessages } from './unhandled-messages.ts'

/** Maximum length of the key of a lane, in characters. */
export const MAX_KEY = 4096

export interface DeliveryHandlerParts {
  readonly target: MessagingTarget
  readonly consumerGroup: string
  readonly deadLetterStacks: boolean
  readonly retryPolicy: RetryPolicy
  readonly handlers: HandlerRegistry
  readonly dispatcher: Dispatcher
  readonly codec: EventCodec
  readonly newerVersions: NewerVersions
  readonly counters: BusCounters
  readonly metrics: BusMetrics
  readonly tracer: EventTracer
  readonly held: HeldDeliveries
  readonly slots: HandlingSlots
  readonly settling: Settling
  readonly unhandled: UnhandledMessages
  /** Aborts when no further handler may start. */
  readonly stopping: AbortSignal
  /** Aborts when the pipeline no longer waits for its handlers. */
  readonly abandoned: AbortSignal
}

/** A delivery that is being handled. */
interface Handling extends ConsumeSubject {
  readonly delivery: Delivery
  readonly event: DomainEvent
  /** The handlers that have not succeeded in an earlier delivery. */
  readonly pending: PendingHandlers
  /** By the monotonic clock; undefined while no metrics are recorded. */
  readonly startedAt: number | undefined
  span: EventSpan
}

/** Handles one delivery until it is settled: decoding, attempts and retries. */
export class DeliveryHandler {
  readonly #parts: DeliveryHandlerParts
  readonly #consumeSpan: SpanKindOf<ConsumeSubject>

  constructor(parts: DeliveryHandlerParts) {
    this.#parts = parts
    this.#consumeSpan = consumeSpanOf(parts.target, parts.consumerGroup)
  }

  /** Never throws or rejects. @returns a promise only if something is asynchronous. */
  handle(delivery: Delivery): Promise<void> | undefined {
    const { handlers, tracer, held, metrics, unhandled } = this.#parts
    const unhandledType = unhandled.takeType(delivery)
    if (unhandledType !== undefined) return this.#unhandled(delivery, unhandledType)
    if (!delivery.begin()) {
      held.giveBack(delivery)
      return undefined
    }
    const event = this.#decode(delivery)
    if (event instanceof Error) return this.#reject(delivery, undefined, poison(this.#parts, event))
    const subscribed = handlers.handlersFor(event.eventType)
    if (subscribed.length === 0) return this.#unhandled(delivery, event.eventType)
    const pending = pendingHandlers(subscribed, delivery)
    if (pending.handlers.length === 0) {
      return this.#reject(delivery, event, handlerGone({ by: this.#parts, pending }))
    }
    const recorder = metrics.refresh()
    recorder?.consumed(event)
    const startedAt = recorder === undefined ? undefined : performance.now()
    const handling: Handling = { delivery, event, pending, startedAt, span: NO_SPAN }
    return tracer.around(this.#consumeSpan, handling, this.#firstAttempt)
  }

  /** Settles or leaves a delivery of a type that no handler of this process is subscribed to. */
  async #unhandled(delivery: Delivery, eventType: string): Promise<void> {
    const { held, settling, unhandled } = this.#parts
    const outcome = await unhandled.outcomeOf(eventType)
    if (outcome === 'leave') return
    if (outcome === 'handle') return this.handle(delivery)
    if (outcome === 'skip') {
      held.giveBack(delivery)
      settling.skip(delivery)
      return
    }
    if (delivery.begin()) await this.#reject(delivery, undefined, outcome)
    else held.giveBack(delivery)
  }

  #decode(delivery: Delivery): DomainEvent | Error {
    const { message } = delivery
    if (message.fault !== undefined) return message.fault
    if (message.key !== undefined && message.key.length > MAX_KEY) {
      return new DecodeError('too_large', `The key of the message has more than ${MAX_KEY} characters.`)
    }
    const { codec, handlers, newerVersions } = this.#parts
    try {
      const event = codec.decode(message, handlers.classFor)
      const newer =
        newerVersions === 'refuse' ? newerVersionFault(handlers.classFor(event.eventType), event) : undefined
      return newer === undefined ? event : new DecodeError('newer_version', newer)
    } catch (error) {
      return toError(error)
    }
  }

  /** Dead-letters a message that no handler can receive. */
  #reject(delivery: Delivery, event: DomainEvent | undefined, reason: DeadLetterReason): Promise<void> {
    const { metrics, tracer, settling } = this.#parts
    metrics.refresh()?.consumed(event)
    return tracer.around(this.#consumeSpan, { delivery, event }, (_subject, span) =>
      settling.giveUp({ delivery, event, span, startedAt: undefined }, reason),
    )
  }

  /** The path of nearly every event, without an await unless a handler is asynchronous. */
  readonly #firstAttempt = (handling: Handling, span: EventSpan): Promise<void> | undefined => {
    const { delivery, event, pending } = handling
    handling.span = span
    if (delivery.deliveryCount > 1) return this.#redelivered(handling)
    const outcome = this.#parts.dispatcher.run(pending.handlers, event, this.#runInfo(delivery, 1))
    if (outcome instanceof Promise) return this.#continue(handling, outcome)
    return outcome.length === 0 ? this.#succeed(handling) : this.#retry(handling, outcome, 1)
  }

  async #continue(handling: Handling, outcome: Promise<readonly HandlerFailure[]>): Promise<void> {
    const failures = await outcome
    if (failures.length === 0) await this.#succeed(handling)
    else await this.#retry(handling, failures, 1)
  }

  /**
   * A message that was delivered before may have crashed its process, so each attempt is recorded before it starts.
   * Messages with one delivery left start one at a time, so that only the message that crashes the process gets a
   * further count, and not the messages that would have run at the same time.
   */
  async #redelivered(handling: Handling): Promise<void> {
    const { delivery, event, pending } = handling
    const { retryPolicy, dispatcher, settling, slots, stopping } = this.#parts
    const attempt = delivery.deliveryCount
    if (attempt > retryPolicy.maxDeliveries) {
      await settling.giveUp(handling, deliveryLimit({ by: this.#parts, delivery, pending }))
      return
    }
    const release = attempt < retryPolicy.maxDeliveries ? () => undefined : await slots.acquireExclusive()
    try {
      if (stopping.aborted || !(await settling.beginAttempt(delivery, attempt, []))) return
      const failures = await dispatcher.run(pending.handlers, event, this.#runInfo(delivery, attempt))
      release()
      if (failures.length === 0) await this.#succeed(handling)
      else await this.#retry(handling, failures, attempt)
    } finally {
      release()
    }
  }

  /** Runs only the handlers that failed, until none fails or no attempt is left. */
  async #retry(
    handling: Handling,
    firstFailures: readonly HandlerFailure[],
    firstAttempt: number,
  ): Promise<void> {
    const { delivery, event, pending } = handling
    const { retryPolicy, dispatcher, settling, slots, abandoned } = this.#parts
    const firstFailedAt = new Date()
    let failures = firstFailures
    for (let attempt = firstAttempt; ; attempt += 1) {
      // A failure after the shutdown has aborted the handler's signal does not count.
      if (abandoned.aborted) return
      const delayMs = retryPolicy.delayAfter(attempt)
      if (delayMs === undefined) {
        const givenUp = { by: this.#parts, delivery, pending }
        await settling.giveUp(handling, exhausted(givenUp, failures, attempt, firstFailedAt))
        return
      }
      const failed = failures.map((failure) => failure.handler)
      const settled = settledNames(pending.handlers, failed)
      if (!(await settling.attemptFailed(delivery, attempt, settled))) return
      if (!(await slots.pause(delayMs))) return
      if (!(await settling.beginAttempt(delivery, attempt + 1, settled))) return
      this.#reportRetry(handling, attempt + 1, delayMs, failed)
      failures = await dispatcher.run(failed, event, this.#runInfo(delivery, attempt + 1))
      if (failures.length === 0) return this.#succeed(handling)
    }
  }

  #reportRetry(
    { event, span }: Handling,
    attempt: number,
    delayMs: number,
    handlers: readonly HandlerEntry[],
  ): void {
    this.#parts.counters.eventsRetried += 1
    this.#parts.metrics.recorder?.retried(event)
    span.addEvent('retry', () => ({
      'eventspine.attempt': attempt,
      'eventspine.retry.delay': delayMs / 1000,
      'eventspine.handler.name': handlers.map(({ name }) => name),
    }))
  }

  /**
   * Called when all subscribed handlers have succeeded. A delivery that is also for other handlers is dead-lettered for
   * those.
   */
  #succeed(handling: Handling): Promise<void> | undefined {
    const { delivery, event, startedAt, pending } = handling
    const { settling } = this.#parts
    if (pending.missing.length > 0) {
      return settling.giveUp(handling, handlerGone({ by: this.#parts, pending }))
    }
    settling.succeed(delivery, event, startedAt)
    return undefined
  }

  #runInfo(delivery: Delivery, attempt: number): RunInfo {
    return {
      attempt,
      deliveryCount: delivery.deliveryCount,
      consumerGroup: this.#parts.consumerGroup,
      messageId: delivery.message.id,
      busSignal: this.#parts.abandoned,
    }
  }
}
