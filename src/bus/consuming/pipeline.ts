import type { EventCodec } from '../../codec/index.ts'
import { toError } from '../../errors.ts'
import type { DomainEvent } from '../../events/index.ts'
import type { Dispatcher, HandlerFailure } from '../../handling/dispatcher.ts'
import { ShutdownError } from '../../handling/errors.ts'
import type { HandlerEntry, HandlerRegistry } from '../../handling/handler-registry.ts'
import type { RunInfo } from '../../handling/handler-run.ts'
import { IdleCounter } from '../../kit/idle-counter.ts'
import { Lanes } from '../../kit/lanes.ts'
import type { RetryPolicy } from '../../kit/retry-policy.ts'
import { RoomGauge } from '../../kit/room-gauge.ts'
import { Slots } from '../../kit/slots.ts'
import { type Sleep, settledUntil, sleep } from '../../kit/time.ts'
import type { Logger } from '../../observability/logger.ts'
import { type EventSpan, type EventTracer, NO_SPAN, type SpanKindOf } from '../../observability/tracer.ts'
import { MessageRefusedError } from '../../transport/errors.ts'
import type { DeadLetterReason, Delivery, Intake } from '../../transport/transport.ts'
import type { BusCounters } from '../telemetry/bus-counters.ts'
import type { BusMetrics } from '../telemetry/bus-metrics.ts'
import { type ConsumeSubject, consumeSpanOf, type MessagingTarget } from '../telemetry/bus-spans.ts'
import { deliveryLimit, exhausted, handlerGone, poison } from './dead-letter-reasons.ts'
import { owingHandlers } from './pending-handlers.ts'

export interface PipelineParts {
  readonly target: MessagingTarget
  readonly consumerGroup: string
  readonly maxInFlight: number
  readonly concurrency: number
  readonly enableDlq: boolean
  readonly retryPolicy: RetryPolicy
  readonly handlers: HandlerRegistry
  readonly dispatcher: Dispatcher
  readonly codec: EventCodec
  readonly counters: BusCounters
  readonly metrics: BusMetrics
  readonly tracer: EventTracer
  readonly logger: Logger
  readonly sleep?: Sleep
}

/** How long a message that is alone with its suspicion keeps others of its kind waiting, in milliseconds. */
const SUSPECT_HOLD_MS = 5000

/** A delivery that is being handled. */
interface Handling extends ConsumeSubject {
  readonly delivery: Delivery
  readonly event: DomainEvent
  /** The handlers that have not succeeded for it before. */
  readonly owing: readonly HandlerEntry[]
  /** By the monotonic clock; undefined while nobody measures. */
  readonly startedAt: number | undefined
  span: EventSpan
}

/**
 * What happens to a delivery: lane, decode, dispatch, retry, settle. Deliveries with the same key are handled one
 * after the other, and a retry holds back only its own lane; a place among the `concurrency` is taken only while
 * handlers run. Stopping leaves what is not settled to be redelivered.
 */
export class ConsumerPipeline implements Intake {
  readonly #parts: PipelineParts
  readonly #sleep: Sleep
  readonly #lanes: Lanes<Delivery>
  readonly #slots: Slots
  readonly #suspects = new Slots(1)
  readonly #gauge: RoomGauge
  /** In the order of their coming. */
  readonly #takenAt = new Map<Delivery, number>()
  readonly #stopping = new AbortController()
  readonly #abandoned = new AbortController()
  readonly #consumeSpan: SpanKindOf<ConsumeSubject>
  /** Deliveries whose handling is asynchronous and has not ended. */
  readonly #running = new IdleCounter()
  #isReleased = false

  constructor(parts: PipelineParts) {
    this.#parts = parts
    this.#sleep = parts.sleep ?? sleep
    this.#slots = new Slots(parts.concurrency)
    this.#gauge = new RoomGauge(parts.maxInFlight)
    this.#lanes = new Lanes(this.#slots, this.#stopping.signal, (delivery) => this.#work(delivery))
    this.#consumeSpan = consumeSpanOf(parts.target, parts.consumerGroup)
  }

  /** When the one that is held longest was taken, by the monotonic clock; undefined while none is held. */
  get oldestTakenAt(): number | undefined {
    return this.#takenAt.values().next().value
  }

  get room(): number {
    return this.#gauge.room
  }

  whenRoom(): Promise<void> {
    return this.#gauge.whenRoom()
  }

  deliver(delivery: Delivery): void {
    if (this.#stopping.signal.aborted) return
    const { headers, key, id } = delivery.message
    const headerType = headers['event_type']
    if (headerType !== undefined && this.#parts.handlers.handlersFor(headerType).length === 0) {
      this.#parts.counters.eventsSkipped += 1
      delivery.ack()
      return
    }
    this.#take(delivery)
    // A message without a key is in no order: its lane is its own.
    this.#lanes.push(key ?? `\0${id}`, delivery)
  }

  /** From now on nothing is taken and no handler starts. */
  stopTaking(): void {
    this.#stopping.abort()
    this.#gauge.close()
  }

  /**
   * Waits for the handlers that run.
   * @param signal - aborts when the time is up.
   * @returns how many were still running then; their signals are aborted.
   */
  async drain(signal: AbortSignal): Promise<number> {
    const isIdle = this.#running.count === 0 || (await settledUntil(this.#running.whenIdle(), signal))
    if (!isIdle) this.#abandoned.abort(new ShutdownError())
    this.#release()
    return this.#running.count
  }

  #work(delivery: Delivery): Promise<void> | undefined {
    const pending = this.#handle(delivery)
    return pending === undefined ? undefined : this.#running.track(pending)
  }

  /** Never throws or rejects; a promise only where something is asynchronous. */
  #handle(delivery: Delivery): Promise<void> | undefined {
    if (!delivery.begin()) {
      this.#giveBack(delivery)
      return undefined
    }
    const { handlers, tracer, consumerGroup } = this.#parts
    const decoded = this.#decode(delivery)
    if (decoded instanceof Error) return this.#refuse(delivery, undefined, poison(consumerGroup, decoded))
    const subscribed = handlers.handlersFor(decoded.eventType)
    if (subscribed.length === 0) {
      this.#parts.counters.eventsSkipped += 1
      this.#giveBack(delivery)
      delivery.ack()
      return undefined
    }
    const owing = owingHandlers(subscribed, delivery)
    if (owing === undefined) return this.#refuse(delivery, decoded, handlerGone(consumerGroup, delivery))
    const recorder = this.#parts.metrics.refresh()
    recorder?.consumed(decoded)
    const startedAt = recorder === undefined ? undefined : performance.now()
    const handling: Handling = { delivery, event: decoded, owing, startedAt, span: NO_SPAN }
    return tracer.around(this.#consumeSpan, handling, this.#firstAttempt)
  }

  /** Gives up what no handler gets to see. */
  #refuse(delivery: Delivery, event: DomainEvent | undefined, reason: DeadLetterReason): Promise<void> {
    this.#parts.metrics.refresh()?.consumed(event)
    const subject = { delivery, event }
    return this.#parts.tracer.around(this.#consumeSpan, subject, (_subject, span) =>
      this.#giveUp({ delivery, event, span, startedAt: undefined }, reason),
    )
  }

  #decode(delivery: Delivery): DomainEvent | Error {
    try {
      return this.#parts.codec.decode(delivery.message, this.#parts.handlers.classFor)
    } catch (error) {
      return toError(error)
    }
  }

  /** The way of nearly every event, without an await unless a handler is asynchronous. */
  readonly #firstAttempt = (handling: Handling, span: EventSpan): Promise<void> | undefined => {
    const { delivery, event, owing } = handling
    handling.span = span
    if (delivery.deliveryCount > 1) return this.#redelivered(handling)
    const outcome = this.#parts.dispatcher.run(owing, event, this.#runInfo(delivery, 1))
    if (outcome instanceof Promise) return this.#continue(handling, outcome)
    if (outcome.length === 0) {
      this.#succeed(handling)
      return undefined
    }
    return this.#retry(handling, outcome, 1)
  }

  async #continue(handling: Handling, outcome: Promise<readonly HandlerFailure[]>): Promise<void> {
    const failures = await outcome
    if (failures.length === 0) this.#succeed(handling)
    else await this.#retry(handling, failures, 1)
  }

  /**
   * A message that somebody had before: it may have killed that process, so that each attempt is noted before it
   * begins. Those that have only one delivery left begin one at a time: then the killer is counted and its neighbors,
   * which were counted with it until then, are not.
   */
  async #redelivered(handling: Handling): Promise<void> {
    const { delivery, event, owing } = handling
    const { retryPolicy, consumerGroup } = this.#parts
    const attempt = delivery.deliveryCount
    if (attempt > retryPolicy.maxDeliveries) {
      await this.#giveUp(handling, deliveryLimit(consumerGroup, delivery, owing))
      return
    }
    const release = attempt < retryPolicy.maxDeliveries ? () => undefined : await this.#takeAlone()
    try {
      if (this.#stopping.signal.aborted || !(await this.#begin(delivery, attempt, []))) return
      const failures = await this.#parts.dispatcher.run(owing, event, this.#runInfo(delivery, attempt))
      release()
      if (failures.length === 0) this.#succeed(handling)
      else await this.#retry(handling, failures, attempt)
    } finally {
      release()
    }
  }

  /** Waits, without a slot, until no other suspect is alone. @returns what ends being it; it ends by itself too. */
  async #takeAlone(): Promise<() => void> {
    this.#slots.release()
    await this.#suspects.taken()
    await this.#slots.taken()
    const release = onceOnly(() => this.#suspects.release())
    const timer = setTimeout(release, SUSPECT_HOLD_MS)
    return () => {
      clearTimeout(timer)
      release()
    }
  }

  async #retry(
    handling: Handling,
    firstFailures: readonly HandlerFailure[],
    firstAttempt: number,
  ): Promise<void> {
    const { delivery, event, owing, span } = handling
    const { retryPolicy, dispatcher, counters, metrics, consumerGroup } = this.#parts
    const firstFailedAt = new Date()
    let failures = firstFailures
    for (let attempt = firstAttempt; ; attempt += 1) {
      // A handler that failed because its shutdown came is not at fault.
      if (this.#abandoned.signal.aborted) return
      const delayMs = retryPolicy.delayAfter(attempt)
      if (delayMs === undefined) {
        await this.#giveUp(handling, exhausted(consumerGroup, failures, attempt, firstFailedAt))
        return
      }
      const pending = failures.map((failure) => failure.handler)
      const settled = owing.filter((handler) => !pending.includes(handler)).map(({ name }) => name)
      if (!(await this.#note(delivery, settled, (names) => delivery.attemptFailed(attempt, names)))) return
      if (!(await this.#pause(delayMs))) return
      if (!(await this.#begin(delivery, attempt + 1, settled))) return
      counters.eventsRetried += 1
      metrics.recorder?.retried(event)
      span.addEvent('retry', () => ({
        'eventspine.attempt': attempt + 1,
        'eventspine.retry.delay': delayMs / 1000,
        'eventspine.handler.name': pending.map(({ name }) => name),
      }))
      failures = await dispatcher.run(pending, event, this.#runInfo(delivery, attempt + 1))
      if (failures.length === 0) return this.#succeed(handling)
    }
  }

  /** Waits without a slot. @returns false when the pipeline is stopping. */
  async #pause(delayMs: number): Promise<boolean> {
    this.#slots.release()
    const isOver = await this.#sleep(delayMs, this.#stopping.signal)
    await this.#slots.taken()
    return isOver && !this.#stopping.signal.aborted
  }

  /** @returns false when the message is somebody else's by now, or the pipeline is stopping. */
  #begin(delivery: Delivery, attempt: number, settled: readonly string[]): Promise<boolean> {
    return this.#note(delivery, settled, (names) => delivery.beginAttempt(attempt, names))
  }

  /** @returns false when the message is somebody else's by now, or the pipeline is stopping. */
  async #note(
    delivery: Delivery,
    settled: readonly string[],
    action: (settledHandlers: readonly string[]) => Promise<boolean>,
  ): Promise<boolean> {
    const names = [...delivery.settledHandlers, ...settled]
    const isHeld = await this.#insist('noting an attempt failed', delivery, () => action(names))
    if (isHeld === false) this.#giveBack(delivery)
    return isHeld === true
  }

  /** Tries until it works: an event that cannot be settled is kept. @returns undefined when the pipeline is stopping. */
  async #insist<T>(sentence: string, delivery: Delivery, action: () => Promise<T>): Promise<T | undefined> {
    for (let failure = 1; ; failure += 1) {
      try {
        return await action()
      } catch (thrown) {
        const error = toError(thrown)
        this.#parts.counters.failed(error)
        const messageId = delivery.message.id
        // What the broker refuses it may refuse until somebody changes something: that is worth waking somebody.
        const level = error instanceof MessageRefusedError ? 'error' : 'warn'
        this.#parts.logger[level](`${sentence}, trying again`, { messageId, failure, error })
      }
      if (!(await this.#pause(this.#parts.retryPolicy.backoff(failure)))) return undefined
    }
  }

  #succeed({ delivery, event, startedAt }: Handling): void {
    delivery.ack()
    if (this.#isReleased) return
    this.#parts.metrics.recorder?.handled(event, 'success', undefined, startedAt)
    this.#parts.counters.eventsProcessedSuccess += 1
    this.#settled(delivery)
  }

  /** Dead letter, or a log line where the dead letter queue is off. */
  async #giveUp(
    { delivery, event, span, startedAt }: ConsumeSubject & Pick<Handling, 'span' | 'startedAt'>,
    reason: DeadLetterReason,
  ): Promise<void> {
    const { enableDlq, counters, logger } = this.#parts
    const fields = {
      messageId: delivery.message.id,
      eventId: event?.eventId ?? delivery.message.headers['event_id'],
      eventType: event?.eventType ?? delivery.message.headers['event_type'],
      reason: reason.kind,
      handlers: reason.handlerNames,
      attempts: reason.attempts,
      error: `${reason.errorName}: ${reason.errorMessage}`,
    }
    counters.failed(new Error(fields.error))
    if (!enableDlq) {
      logger.error('event dropped, as the dead letter queue is off', fields)
      span.fail(`dropped: ${reason.kind}`)
      delivery.ack()
    } else {
      const isSafe = await this.#insist('dead-lettering failed', delivery, () => delivery.deadLetter(reason))
      if (isSafe === false) this.#giveBack(delivery)
      if (isSafe !== true) return
      counters.messagesSentToDlq += 1
      logger.error('event dead-lettered', fields)
      span.fail(`dead-lettered: ${reason.kind}`)
    }
    if (this.#isReleased) return
    const outcome = enableDlq ? 'dead_lettered' : 'dropped'
    this.#parts.metrics.recorder?.handled(event, outcome, reason.kind, startedAt)
    counters.eventsProcessedFailed += 1
    this.#settled(delivery)
  }

  #runInfo(delivery: Delivery, attempt: number): RunInfo {
    return {
      attempt,
      deliveryCount: delivery.deliveryCount,
      consumerGroup: this.#parts.consumerGroup,
      messageId: delivery.message.id,
      busSignal: this.#abandoned.signal,
    }
  }

  #take(delivery: Delivery): void {
    const { counters } = this.#parts
    counters.eventsConsumed += 1
    counters.inFlight += 1
    counters.lastConsumeAt = Date.now()
    this.#takenAt.set(delivery, performance.now())
    this.#gauge.take()
  }

  #settled(delivery: Delivery): void {
    this.#takenAt.delete(delivery)
    this.#parts.counters.inFlight -= 1
    this.#gauge.free()
  }

  /** Takes back the count of a delivery that is not handled here after all. */
  #giveBack(delivery: Delivery): void {
    if (this.#isReleased) return
    this.#parts.counters.eventsConsumed -= 1
    this.#settled(delivery)
  }

  /** What is unsettled when the pipeline has stopped was not consumed: it will be delivered again. */
  #release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    const { counters } = this.#parts
    counters.eventsConsumed -= this.#gauge.held
    counters.inFlight -= this.#gauge.held
  }
}

function onceOnly(action: () => void): () => void {
  let isDone = false
  return () => {
    if (isDone) return
    isDone = true
    action()
  }
}
