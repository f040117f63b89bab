import { typeHeaderOf } from '../../codec/event-codec.ts'
import { DecodeError, type EventCodec } from '../../codec/index.ts'
import { newerVersionError } from '../../codec/revive.ts'
import { toError } from '../../errors.ts'
import type { DomainEvent } from '../../events/index.ts'
import type { Dispatcher } from '../../handling/dispatcher.ts'
import type { FailurePolicies } from '../../handling/failure-policy.ts'
import type { HandlerEntry } from '../../handling/handler-entry.ts'
import type { HandlerFailure } from '../../handling/handler-failure.ts'
import { type HandlerLimit, limitsOf } from '../../handling/handler-limit.ts'
import type { HandlerRegistry } from '../../handling/handler-registry.ts'
import { HandlerRetries, isProbe } from '../../handling/handler-retries.ts'
import type { RunInfo } from '../../handling/handler-run.ts'
import { waitsInOrder } from '../../handling/waiting-policy.ts'
import type { Logger } from '../../observability/logger.ts'
import { type EventSpan, type EventTracer, NO_SPAN, type SpanKindOf } from '../../observability/tracer.ts'
import type { DeadLetterReason, Delivery } from '../../transport/transport.ts'
import type { NewerVersions } from '../broker-options.ts'
import type { BusCounters } from '../telemetry/bus-counters.ts'
import type { BusMetrics } from '../telemetry/bus-metrics.ts'
import { type ConsumeSubject, consumeSpanOf, type MessagingTarget } from '../telemetry/bus-spans.ts'
import { readAttempts, withAttempts } from './attempt-record.ts'
import { deliveryLimit, givenUp, handlerGone, poison } from './dead-letter-reasons.ts'
import { DeliveryRetries, type FailedHandling } from './delivery-retries.ts'
import { DeliveryRun } from './delivery-run.ts'
import type { HandlingSlots } from './handling-slots.ts'
import type { HeldDeliveries } from './held-deliveries.ts'
import type { LineWatch } from './line-watch.ts'
import { hasPlace, isFirstInLine, placeNames } from './order-places.ts'
import { firstAttemptOf, type PendingHandlers, pendingHandlers } from './pending-handlers.ts'
import type { Settling } from './settling.ts'
import { hasWaited, type UnhandledMessages } from './unhandled-messages.ts'
import type { UnrecordedSuccesses } from './unrecorded-successes.ts'
import { waitingTurns } from './waiting-turns.ts'

/** Maximum length of the key of a lane, in characters. */
export const MAX_KEY = 4096

const NONE: readonly HandlerLimit[] = Object.freeze([])

export interface DeliveryHandlerParts {
  readonly target: MessagingTarget
  readonly consumerGroup: string
  readonly deadLetterStacks: boolean
  readonly policies: FailurePolicies
  readonly handlers: HandlerRegistry
  readonly dispatcher: Dispatcher
  readonly codec: EventCodec
  readonly newerVersions: NewerVersions
  readonly counters: BusCounters
  readonly metrics: BusMetrics
  readonly tracer: EventTracer
  readonly logger: Logger
  readonly held: HeldDeliveries
  readonly slots: HandlingSlots
  readonly settling: Settling
  readonly lines: LineWatch
  readonly unhandled: UnhandledMessages
  readonly unrecorded: UnrecordedSuccesses
  /** Handles a delivery to whose type a handler has been subscribed in the meantime, within the handler's limits. */
  readonly handleSubscribed: (delivery: Delivery) => Promise<unknown> | undefined
  /** Aborts when no further handler may start. */
  readonly stopping: AbortSignal
  /** Aborts when the pipeline no longer waits for its handlers. */
  readonly abandoned: AbortSignal
}

/** A delivery that is being handled. */
interface Handling extends ConsumeSubject, FailedHandling {
  readonly delivery: Delivery
  readonly event: DomainEvent
  /** By the monotonic clock; undefined while no metrics are recorded. */
  readonly startedAt: number | undefined
  span: EventSpan
  /** The handlers that do not get the event, because too many others wait before it. */
  readonly refused?: readonly HandlerFailure[]
  /** Called when the first attempt of the delivery has ended. */
  readonly onAttempted: (() => void) | undefined
}

/** Handles one delivery until it is settled: decoding, attempts and retries. */
export class DeliveryHandler {
  readonly #parts: DeliveryHandlerParts
  readonly #consumeSpan: SpanKindOf<ConsumeSubject>

  constructor(parts: DeliveryHandlerParts) {
    this.#parts = parts
    this.#consumeSpan = consumeSpanOf(parts.target, parts.consumerGroup)
  }

  /** The limits of the handlers of a delivery. */
  limitsOf({ message }: Delivery): readonly HandlerLimit[] {
    const { handlers, codec } = this.#parts
    if (message.fault !== undefined) return NONE
    const type = typeHeaderOf(message)
    const isCertain = type !== undefined && codec.canOnlyBe?.(message, type) === true
    const eventType = isCertain ? type : this.#typeOf(message)
    return eventType === undefined ? NONE : limitsOf(handlers.handlersFor(eventType))
  }

  /**
   * Never throws or rejects. @returns a promise only if something is asynchronous.
   * @param onAttempted - called when the first attempt has ended, if there is one.
   */
  handle(delivery: Delivery, onAttempted?: () => void): Promise<void> | undefined {
    const { handlers, tracer, held, metrics, unhandled, unrecorded } = this.#parts
    const unhandledType = unhandled.takeType(delivery)
    if (unhandledType !== undefined) return this.#unhandled(delivery, unhandledType)
    if (!delivery.begin()) {
      held.giveBack(delivery)
      return undefined
    }
    const event = this.#decode(delivery)
    if (event instanceof Error) return this.#undecodable(delivery, event, onAttempted)
    const subscribed = handlers.handlersFor(event.eventType)
    if (subscribed.length === 0) return this.#unhandled(delivery, event.eventType)
    const succeeded = unrecorded.of(delivery, event)
    const pending = pendingHandlers(subscribed, delivery, succeeded)
    if (pending.handlers.length === 0 && succeeded.length === 0) {
      return this.#reject(delivery, event, handlerGone({ by: this.#parts, pending }))
    }
    const recorder = metrics.refresh()
    recorder?.consumed(event)
    const startedAt = recorder === undefined ? undefined : performance.now()
    const handling: Handling = { delivery, event, pending, startedAt, span: NO_SPAN, onAttempted }
    return tracer.around(this.#consumeSpan, handling, this.#firstAttempt)
  }

  /** Settles or leaves a delivery of a type that no handler of this process is subscribed to. */
  async #unhandled(delivery: Delivery, eventType: string): Promise<void> {
    const { held, settling, unhandled, handleSubscribed } = this.#parts
    const outcome = await unhandled.outcomeOf(eventType)
    if (outcome === 'leave') return
    if (outcome === 'handle') {
      await handleSubscribed(delivery)
      return
    }
    if (outcome === 'skip' && !hasWaited(delivery)) {
      held.giveBack(delivery)
      settling.skip(delivery)
      return
    }
    const reason =
      outcome === 'skip' ? handlerGone({ by: this.#parts, pending: pendingHandlers([], delivery) }) : outcome
    if (delivery.begin()) await this.#reject(delivery, undefined, reason)
    else held.giveBack(delivery)
  }

  /** Dead-letters a message that cannot be decoded, unless a newer release in the group can read it. */
  async #undecodable(delivery: Delivery, error: Error, onAttempted?: () => void): Promise<void> {
    const newer = error instanceof DecodeError ? error.newer : undefined
    if (newer !== undefined) {
      onAttempted?.()
      if (!(await this.#parts.unhandled.isUnreadable(newer))) return
    }
    const subscribed = this.#parts.handlers.handlersFor(delivery.message.headers['event_type'] ?? '')
    const pending = pendingHandlers(subscribed, delivery)
    await this.#reject(delivery, undefined, poison({ by: this.#parts, delivery, pending }, error))
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
        newerVersions === 'refuse' ? newerVersionError(handlers.classFor(event.eventType), event) : undefined
      return newer ?? event
    } catch (error) {
      return toError(error)
    }
  }

  /** @returns undefined if the message cannot be decoded. */
  #typeOf(message: Delivery['message']): string | undefined {
    try {
      return this.#parts.codec.decode(message, this.#parts.handlers.classFor).eventType
    } catch {
      return undefined // its handling rejects it
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
    handling.span = span
    const mayWait = this.#parts.handlers.hasOrderedWaits && !isFirstInLine(handling.delivery)
    return mayWait && handling.pending.handlers.some(waitsInOrder)
      ? this.#behindOthers(handling)
      : this.#attempt(handling)
  }

  /** Leaves out the handlers for which the event has to wait behind others of its aggregate. */
  async #behindOthers(handling: Handling): Promise<void> {
    const { delivery, pending } = handling
    const turns = await waitingTurns(delivery, pending.handlers.filter(waitsInOrder), this.#parts)
    if (turns === undefined) return
    const { moved, refused } = turns
    const out = [...moved, ...refused.map(({ handler }) => handler)]
    if (out.length === 0) {
      await this.#attempt(handling)
      return
    }
    const handlers = pending.handlers.filter((handler) => !out.includes(handler))
    const names = placeNames(moved)
    const isMoved = handlers.length + refused.length + pending.missing.length === 0
    if (isMoved) await this.#parts.settling.moved(handling, names)
    else await this.#attempt({ ...handling, refused, pending: { ...pending, handlers, moved: names } })
  }

  #attempt(handling: Handling): Promise<void> | undefined {
    const { delivery, event, pending, refused = [] } = handling
    if (delivery.deliveryCount > 1 && pending.handlers.length > 0) return this.#redelivered(handling)
    if (pending.attempts !== undefined || refused.length > 0)
      return this.#continue(handling, this.#runUnless([], handling))
    const info = this.#runInfo(delivery, 1, handling.span)
    const outcome = this.#parts.dispatcher.run(pending.handlers, event, info)
    if (outcome instanceof Promise) return this.#continue(handling, outcome)
    return outcome.length === 0 ? this.#succeed(handling) : this.#retry(handling, outcome)
  }

  async #continue(handling: Handling, outcome: Promise<readonly HandlerFailure[]>): Promise<void> {
    const failures = await outcome
    if (failures.length === 0) await this.#succeed(handling)
    else await this.#retry(handling, failures)
  }

  /**
   * A message that was delivered before may have crashed its process, so each attempt is recorded before it starts.
   * Messages with one delivery left start one at a time, so that only the message that crashes the process gets a
   * further count, and not the messages that would have run at the same time.
   */
  async #redelivered(handling: Handling): Promise<void> {
    const { delivery, pending, refused = [] } = handling
    const { policies, settling, slots, stopping } = this.#parts
    // As for a first delivery, a process that crashed may have held the message after its wait without starting to handle it.
    const least = (delivery.replayTarget?.earlier?.attempts ?? 0) + 2
    const left = pending.handlers.map((handler) => {
      const most = Math.max(least, policies.of(handler).retry.maxDeliveries)
      return most - firstAttemptOf(handler, delivery, pending)
    })
    if (refused.length === 0 && Math.max(...left) < 0) {
      await settling.giveUp(handling, deliveryLimit({ by: this.#parts, delivery, pending }))
      return
    }
    const release = left.includes(0) ? await slots.acquireExclusive() : () => undefined
    try {
      const recorded = recordOf(delivery, pending)
      if (stopping.aborted || !(await settling.beginAttempt(delivery, delivery.deliveryCount, recorded)))
        return
      const exhausted = pending.handlers.filter((_handler, index) => (left[index] ?? 0) < 0)
      const failures = await this.#runUnless(exhausted, handling)
      release()
      if (failures.length === 0) await this.#succeed(handling)
      else await this.#retry(handling, failures)
    } finally {
      release()
    }
  }

  /** The first attempt of a redelivery. Handlers may have made different numbers of attempts. */
  async #runUnless(
    exhausted: readonly HandlerEntry[],
    handling: Handling,
  ): Promise<readonly HandlerFailure[]> {
    const { delivery, event, pending, refused = [] } = handling
    const runnable = pending.handlers.filter((handler) => !exhausted.includes(handler))
    const groups = Map.groupBy(runnable, (handler) => firstAttemptOf(handler, delivery, pending))
    const runs = [...groups].map(([attempt, handlers]) =>
      this.#parts.dispatcher.run(handlers, event, this.#runInfo(delivery, attempt)),
    )
    const error = new Error('No attempt is left, and the process did not survive the last one.')
    return [
      ...refused,
      ...exhausted.map((handler) => ({ handler, error })),
      ...(await Promise.all(runs)).flat(),
    ]
  }

  /** Runs the handlers that failed, and only those, until none fails or no attempt is left. */
  async #retry(handling: Handling, failures: readonly HandlerFailure[]): Promise<void> {
    const { delivery, event, pending } = handling
    const { policies, settling, unrecorded } = this.#parts
    handling.onAttempted?.()
    unrecorded.add(delivery, event, pending.handlers, failures)
    const firstFailedAt = pending.firstFailedAt ?? new Date()
    const steps = new DeliveryRetries({ ...handling, firstFailedAt }, this.#parts, (attempt) =>
      this.#runInfo(delivery, attempt),
    )
    const exhausted = await new HandlerRetries(policies, steps).run(failures, (handler) =>
      firstAttemptOf(handler, delivery, pending),
    )
    if (exhausted === undefined) return
    if (exhausted.length > 0) {
      const failed = { by: this.#parts, delivery, pending }
      await settling.giveUp(handling, givenUp(failed, exhausted, firstFailedAt), waitingFor(pending, steps))
    } else if (steps.postponed.length > 0 && pending.missing.length === 0) {
      await settling.moved(handling, waitingFor(pending, steps))
    } else await this.#succeed(handling, steps)
  }

  /**
   * Called when all subscribed handlers have succeeded. A delivery that is also for other handlers is dead-lettered for
   * those.
   */
  #succeed(handling: Handling, steps?: DeliveryRetries): Promise<void> | undefined {
    const { delivery, event, startedAt, pending } = handling
    const { settling, unrecorded } = this.#parts
    const isSettledAtOnce = pending.missing.length === 0 && !hasPlace(delivery)
    if (steps === undefined && !isSettledAtOnce) unrecorded.add(delivery, event, pending.handlers)
    if (pending.missing.length > 0) {
      return settling.giveUp(handling, handlerGone({ by: this.#parts, pending }), waitingFor(pending, steps))
    }
    if (hasPlace(delivery)) return settling.succeedInOrder(handling, waitingFor(pending, steps))
    settling.succeed(delivery, event, startedAt)
    return undefined
  }

  /** @param span - the span around the first attempt. */
  #runInfo(delivery: Delivery, attempt: number, span?: EventSpan): RunInfo {
    return new DeliveryRun(delivery, attempt, this.#parts, span)
  }
}

/** Names of the handlers for which the event waits, before its turn or for a later attempt. */
function waitingFor({ moved = [] }: PendingHandlers, steps?: DeliveryRetries): readonly string[] {
  return [...moved, ...(steps?.postponed ?? [])]
}

/** What the first attempt of a redelivery records. A probe is recorded as if it had ended, so that it never counts. */
function recordOf(delivery: Delivery, pending: PendingHandlers): readonly string[] {
  const { handlers } = pending
  if (!isProbe(handlers)) return pending.recorded
  const failed = handlers.map((handler) => [handler, firstAttemptOf(handler, delivery, pending) - 1] as const)
  return withAttempts(readAttempts(pending.recorded).settled, delivery.deliveryCount, new Map(failed))
}
