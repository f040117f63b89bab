import type { EventCodec } from '../codec/index.ts'
import { toError } from '../errors.ts'
import type { DomainEvent } from '../events/index.ts'
import type { Logger } from '../observability/logger.ts'
import type { EventTracer } from '../observability/tracer.ts'
import type { BusCounters } from './bus-counters.ts'
import { consumeSpan } from './bus-spans.ts'
import { settledBefore } from './deadline.ts'
import type { Dispatcher, HandlerFailure } from './dispatcher.ts'
import { ShutdownError } from './errors.ts'
import type { HandlerEntry, HandlerRegistry } from './handler-registry.ts'
import type { RunInfo } from './handler-run.ts'
import { replayHandlers } from './replay-headers.ts'
import type { RetryPolicy } from './retry-policy.ts'
import { RoomGauge } from './room-gauge.ts'
import { Slots } from './slots.ts'
import { type Wait, wait } from './time.ts'
import type { DeadLetterReason, Delivery, Intake } from './transport.ts'

export interface PipelineParts {
  readonly system: string
  readonly destination: string
  readonly consumerGroup: string
  readonly maxInFlight: number
  readonly concurrency: number
  readonly enableDlq: boolean
  readonly retryPolicy: RetryPolicy
  readonly handlers: HandlerRegistry
  readonly dispatcher: Dispatcher
  readonly codec: EventCodec
  readonly counters: BusCounters
  readonly tracer: EventTracer
  readonly logger: Logger
  readonly wait?: Wait
}

/** How long a message that is alone with its suspicion keeps others of its kind waiting, in milliseconds. */
const SUSPECT_HOLD_MS = 5000

/** The deliveries of one aggregate, the first of which is being handled. */
type Lane = Delivery[]

/**
 * What happens to a delivery: lane, decode, dispatch, retry, settle. Deliveries with the same key are handled one
 * after the other, and a retry holds back only its own lane; a place among the `concurrency` is taken only while
 * handlers run. Stopping leaves what is not settled to be redelivered.
 */
export class ConsumerPipeline implements Intake {
  readonly #parts: PipelineParts
  readonly #wait: Wait
  readonly #lanes = new Map<string, Lane>()
  readonly #slots: Slots
  readonly #suspects = new Slots(1)
  readonly #gauge: RoomGauge
  readonly #stopping = new AbortController()
  readonly #abandoned = new AbortController()
  #running = 0
  #whenIdle: PromiseWithResolvers<void> | undefined
  #isReleased = false

  constructor(parts: PipelineParts) {
    this.#parts = parts
    this.#wait = parts.wait ?? wait
    this.#slots = new Slots(parts.concurrency)
    this.#gauge = new RoomGauge(parts.maxInFlight)
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
    this.#take()
    // A message without a key is in no order: its lane is its own.
    const laneKey = key ?? `\0${id}`
    const lane = this.#lanes.get(laneKey)
    if (lane !== undefined) {
      lane.push(delivery)
      return
    }
    const opened = [delivery]
    this.#lanes.set(laneKey, opened)
    this.#slots.take(() => void this.#advance(laneKey, opened))
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
    if (this.#running > 0) {
      this.#whenIdle ??= Promise.withResolvers()
      if (!(await settledBefore(this.#whenIdle.promise, signal))) this.#abandoned.abort(new ShutdownError())
    }
    this.#release()
    return this.#running
  }

  /** Works on a lane, with a slot taken, until it is empty or others wait for the slot. */
  async #advance(key: string, lane: Lane): Promise<void> {
    for (;;) {
      const [delivery] = lane
      if (delivery === undefined) {
        this.#lanes.delete(key)
        break
      }
      if (this.#stopping.signal.aborted) break
      const pending = this.#handle(delivery)
      if (pending !== undefined) await this.#track(pending)
      lane.shift()
      if (lane.length > 0 && this.#slots.isContended) {
        this.#slots.take(() => void this.#advance(key, lane))
        break
      }
    }
    this.#slots.release()
  }

  /** Never throws or rejects; a promise only where something is asynchronous. */
  #handle(delivery: Delivery): Promise<void> | undefined {
    if (!delivery.begin()) {
      this.#giveBack()
      return undefined
    }
    const decoded = this.#decode(delivery)
    if (decoded instanceof Error) return this.#giveUp(delivery, undefined, this.#poison(decoded))
    const { handlers } = this.#parts
    const subscribed = handlers.handlersFor(decoded.eventType)
    if (subscribed.length === 0) {
      this.#parts.counters.eventsSkipped += 1
      this.#giveBack()
      delivery.ack()
      return undefined
    }
    const owing = owingHandlers(subscribed, delivery)
    if (owing === undefined) return this.#giveUp(delivery, decoded, this.#handlerGone(delivery))
    return this.#parts.tracer.inSpan(consumeSpan(this.#parts, delivery, decoded), () =>
      this.#firstAttempt(delivery, decoded, owing),
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
  #firstAttempt(
    delivery: Delivery,
    event: DomainEvent,
    owing: readonly HandlerEntry[],
  ): Promise<void> | undefined {
    if (delivery.deliveryCount > 1) return this.#redelivered(delivery, event, owing)
    const outcome = this.#parts.dispatcher.run(owing, event, this.#runInfo(delivery, 1))
    if (outcome instanceof Promise) return this.#continue(delivery, event, owing, outcome)
    if (outcome.length === 0) {
      this.#succeed(delivery)
      return undefined
    }
    return this.#retry(delivery, event, owing, outcome, 1)
  }

  async #continue(
    delivery: Delivery,
    event: DomainEvent,
    owing: readonly HandlerEntry[],
    outcome: Promise<readonly HandlerFailure[]>,
  ): Promise<void> {
    const failures = await outcome
    if (failures.length === 0) this.#succeed(delivery)
    else await this.#retry(delivery, event, owing, failures, 1)
  }

  /**
   * A message that somebody had before: it may have killed that process, so that each attempt is noted before it
   * begins. Those that have only one delivery left begin one at a time: then the killer is counted and its neighbors,
   * which were counted with it until then, are not.
   */
  async #redelivered(delivery: Delivery, event: DomainEvent, owing: readonly HandlerEntry[]): Promise<void> {
    const { retryPolicy } = this.#parts
    const attempt = delivery.deliveryCount
    if (attempt > retryPolicy.maxDeliveries) {
      await this.#giveUp(delivery, event, this.#deliveryLimit(delivery, owing))
      return
    }
    const release = attempt < retryPolicy.maxDeliveries ? () => undefined : await this.#takeAlone()
    try {
      if (this.#stopping.signal.aborted || !(await this.#begin(delivery, attempt, []))) return
      const failures = await this.#parts.dispatcher.run(owing, event, this.#runInfo(delivery, attempt))
      release()
      if (failures.length === 0) this.#succeed(delivery)
      else await this.#retry(delivery, event, owing, failures, attempt)
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
    delivery: Delivery,
    event: DomainEvent,
    owing: readonly HandlerEntry[],
    firstFailures: readonly HandlerFailure[],
    firstAttempt: number,
  ): Promise<void> {
    const { retryPolicy, dispatcher, counters } = this.#parts
    const firstFailedAt = new Date()
    let failures = firstFailures
    let noted = 0
    for (let attempt = firstAttempt; ; attempt += 1) {
      // A handler that failed because its shutdown came is not at fault.
      if (this.#abandoned.signal.aborted) return
      const delayMs = retryPolicy.delayAfter(attempt)
      if (delayMs === undefined) {
        await this.#giveUp(delivery, event, this.#exhausted(failures, attempt, firstFailedAt))
        return
      }
      const pending = failures.map((failure) => failure.handler)
      const settled = owing.filter((handler) => !pending.includes(handler)).map(({ name }) => name)
      // Noted before the wait: who gets the message if it changes hands meanwhile must not call them again.
      if (settled.length > noted && !(await this.#begin(delivery, attempt, settled))) return
      noted = settled.length
      if (!(await this.#pause(delayMs))) return
      if (!(await this.#begin(delivery, attempt + 1, settled))) return
      counters.eventsRetried += 1
      failures = await dispatcher.run(pending, event, this.#runInfo(delivery, attempt + 1))
      if (failures.length === 0) return this.#succeed(delivery)
    }
  }

  /** Waits without a slot. @returns false when the pipeline is stopping. */
  async #pause(delayMs: number): Promise<boolean> {
    this.#slots.release()
    const isOver = await this.#wait(delayMs, this.#stopping.signal)
    await this.#slots.taken()
    return isOver && !this.#stopping.signal.aborted
  }

  /** @returns false when the message is somebody else's by now, or the pipeline is stopping. */
  async #begin(delivery: Delivery, attempt: number, settled: readonly string[]): Promise<boolean> {
    const names = [...delivery.settledHandlers, ...settled]
    const isHeld = await this.#insist('noting an attempt failed', delivery, () =>
      delivery.beginAttempt(attempt, names),
    )
    if (isHeld === false) this.#giveBack()
    return isHeld === true
  }

  /** Tries until it works: an event that cannot be settled is kept. @returns undefined when the pipeline is stopping. */
  async #insist<T>(sentence: string, delivery: Delivery, action: () => Promise<T>): Promise<T | undefined> {
    for (let failure = 1; ; failure += 1) {
      try {
        return await action()
      } catch (thrown) {
        this.#parts.counters.lastErrorAt = Date.now()
        const messageId = delivery.message.id
        this.#parts.logger.warn(`${sentence}, trying again`, { messageId, failure, error: toError(thrown) })
      }
      if (!(await this.#pause(this.#parts.retryPolicy.backoff(failure)))) return undefined
    }
  }

  #succeed(delivery: Delivery): void {
    delivery.ack()
    if (this.#isReleased) return
    this.#parts.counters.eventsProcessedSuccess += 1
    this.#settled()
  }

  /** Dead letter, or a log line where the dead letter queue is off. */
  async #giveUp(delivery: Delivery, event: DomainEvent | undefined, reason: DeadLetterReason): Promise<void> {
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
    counters.lastErrorAt = Date.now()
    if (!enableDlq) {
      logger.error('event dropped, as the dead letter queue is off', fields)
      delivery.ack()
    } else {
      const isSafe = await this.#insist('dead-lettering failed', delivery, async () => {
        await delivery.deadLetter(reason)
        return true
      })
      if (isSafe === undefined) return
      counters.messagesSentToDlq += 1
      logger.error('event dead-lettered', fields)
    }
    if (this.#isReleased) return
    counters.eventsProcessedFailed += 1
    this.#settled()
  }

  #poison(error: Error): DeadLetterReason {
    return this.#reason('deserialization_error', error, [], 0, new Date())
  }

  #exhausted(failures: readonly HandlerFailure[], attempts: number, firstFailedAt: Date): DeadLetterReason {
    const names = failures.map(({ handler }) => handler.name)
    const error = failures[0]?.error ?? new Error('unknown')
    return this.#reason('max_retries_exceeded', error, names, attempts, firstFailedAt)
  }

  #deliveryLimit(delivery: Delivery, owing: readonly HandlerEntry[]): DeadLetterReason {
    const attempts = delivery.deliveryCount - 1
    const error = new Error(`delivered ${attempts} times, and no process that had it lived to settle it`)
    return this.#reason(
      'delivery_limit_exceeded',
      error,
      owing.map(({ name }) => name),
      attempts,
      new Date(),
    )
  }

  #handlerGone(delivery: Delivery): DeadLetterReason {
    const names = replayHandlers(delivery.message.headers) ?? delivery.settledHandlers
    const error = new Error('none of the handlers this message is for is subscribed')
    return this.#reason('handler_not_found', error, names, 0, new Date())
  }

  #reason(
    kind: DeadLetterReason['kind'],
    error: Error,
    handlerNames: readonly string[],
    attempts: number,
    firstFailedAt: Date,
  ): DeadLetterReason {
    const { consumerGroup } = this.#parts
    const { name: errorName, message: errorMessage } = error
    return {
      kind,
      errorName,
      errorMessage,
      handlerNames,
      consumerGroup,
      attempts,
      firstFailedAt,
      failedAt: new Date(),
    }
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

  async #track(work: Promise<void>): Promise<void> {
    this.#running += 1
    try {
      await work
    } finally {
      this.#running -= 1
      if (this.#running === 0) this.#whenIdle?.resolve()
    }
  }

  #take(): void {
    const { counters } = this.#parts
    counters.eventsConsumed += 1
    counters.inFlight += 1
    counters.lastConsumeAt = Date.now()
    this.#gauge.take()
  }

  #settled(): void {
    this.#parts.counters.inFlight -= 1
    this.#gauge.free()
  }

  /** Takes back the count of a delivery that is not handled here after all. */
  #giveBack(): void {
    if (this.#isReleased) return
    this.#parts.counters.eventsConsumed -= 1
    this.#settled()
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

/** @returns undefined when none of the handlers that the message is for is subscribed. */
function owingHandlers(
  subscribed: readonly HandlerEntry[],
  delivery: Delivery,
): readonly HandlerEntry[] | undefined {
  const replayTo = replayHandlers(delivery.message.headers)
  if (replayTo === undefined && delivery.settledHandlers.length === 0) return subscribed
  const owing = subscribed.filter(
    ({ name }) => (replayTo?.includes(name) ?? true) && !delivery.settledHandlers.includes(name),
  )
  return owing.length === 0 ? undefined : owing
}

function onceOnly(action: () => void): () => void {
  let isDone = false
  return () => {
    if (isDone) return
    isDone = true
    action()
  }
}
