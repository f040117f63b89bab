import { shorten, toError } from '../errors.ts'
import { Dispatcher } from '../handling/dispatcher.ts'
import { FailurePolicies } from '../handling/failure-policy.ts'
import { type HandlerEntry, recordedName } from '../handling/handler-entry.ts'
import type { HandlerFailure } from '../handling/handler-failure.ts'
import { type HandlerLimit, limitsOf, takeAll } from '../handling/handler-limit.ts'
import { HandlerRetries, type RetrySteps } from '../handling/handler-retries.ts'
import type { RunInfo } from '../handling/handler-run.ts'
import { registeredType } from '../handling/handler-span.ts'
import { STORE_BACKOFF } from '../kit/backoff.ts'
import { IdleCounter } from '../kit/idle-counter.ts'
import type { PauseGate } from '../kit/pause-gate.ts'
import type { Slots } from '../kit/slots.ts'
import { sleep } from '../kit/time.ts'
import type { Logger } from '../observability/logger.ts'
import type { EventTracer, SpanKindOf } from '../observability/tracer.ts'
import { parkable } from '../store/passed-on.ts'
import { type ParkedEvent, parkedError, type SubscriptionDeadLetterStore } from './dead-letter-store.ts'
import { SubscriptionFailedError } from './errors.ts'
import type { Consumer } from './projection.ts'
import type { SubscriptionMonitor } from './subscription-monitor.ts'
import type { ResolvedSubscriptionOptions } from './subscription-options.ts'
import type { Unit } from './unit.ts'

export interface EventWorkParts {
  /** The subscription, which waits for these handlers when it stops. */
  readonly owner: object
  readonly consumer: Consumer
  readonly options: ResolvedSubscriptionOptions
  readonly deadLetters: SubscriptionDeadLetterStore | undefined
  readonly gate: PauseGate
  readonly monitor: SubscriptionMonitor
  readonly tracer: EventTracer
  readonly logger: Logger
  /** After it aborts, no attempt starts. */
  readonly stopping: AbortSignal
  /** After it aborts, the subscription does not wait for running handlers, and their results do not count. */
  readonly abandoned: AbortSignal
  /** Limit the concurrency; a slot is released between two attempts. */
  readonly slots: Slots | undefined
  /** Called if an event cannot be handled and the position must not pass it. */
  readonly onFailed: (error: Error) => void
}

type Failures = readonly HandlerFailure[]

/** Handles events: attempts, retries, and the stop or the dead letter after the last retry. */
export class EventWork {
  readonly #parts: EventWorkParts
  readonly #dispatcher: Dispatcher
  readonly #policies: FailurePolicies
  readonly #running = new IdleCounter()

  constructor(parts: EventWorkParts) {
    const { owner, options, tracer, logger, monitor, consumer } = parts
    this.#parts = parts
    this.#policies = new FailurePolicies(options, logger)
    this.#dispatcher = new Dispatcher({
      owner,
      tracer,
      handlerTimeoutMs: options.handlerTimeoutMs,
      // A batch is not a cause, because it has several events. A relay must publish stored events unchanged.
      cause: consumer.isBatch ? 'none' : 'event',
      // Only buses record metrics.
      metrics: { recorder: undefined },
      observer: {
        handled: () => undefined,
        failed: ({ eventId, eventType }, { handler, error }, { attempt, messageId }) => {
          monitor.handlerErrors += 1
          monitor.problem('handler failed', error, { eventId, position: Number(messageId) })
          const at = { subscription: consumer.name, position: messageId, eventId, eventType, attempt }
          logger.warn('handler failed', { ...at, handlerName: handler.name, error })
        },
      },
    })
  }

  /** Number of running handlers. */
  get running(): number {
    return this.#running.count
  }

  /** Resolves when no handler runs. */
  idle(): Promise<void> {
    return this.#running.whenIdle()
  }

  /** Resolves when the number of running handlers does not exceed the limit. */
  atMost(limit: () => number): Promise<void> {
    return this.#running.whenAtMost(limit)
  }

  /** @returns true if the unit is finished: handled or dead-lettered. A promise only if something is asynchronous. */
  handle(unit: Unit): boolean | Promise<boolean> {
    try {
      const handled = this.#begin(unit)
      if (!(handled instanceof Promise)) return handled
      return handled.catch((thrown: unknown) => this.#stop(unit, toError(thrown)))
    } catch (thrown) {
      return this.#stop(unit, toError(thrown))
    }
  }

  #begin(unit: Unit): boolean | Promise<boolean> {
    if (!this.#parts.gate.isOpen) return this.#beginLater(unit)
    const handlers = this.#parts.consumer.handlersFor(unit)
    if (handlers.length === 0) return this.#succeed(unit)
    const faulty = unit.find(({ fault }) => fault !== undefined)
    if (faulty?.fault !== undefined) return this.#refuse(unit, faulty.fault, handlers)
    const limits = limitsOf(handlers)
    if (limits.length > 0) return this.#beginLimited(limits, handlers, unit)
    const outcome = this.#attempt(handlers, unit, 1)
    if (outcome instanceof Promise || outcome.length > 0) return this.#persist(unit, outcome)
    return this.#succeed(unit)
  }

  /** Waits for the limits of the handlers, without a slot. */
  async #beginLimited(
    limits: readonly HandlerLimit[],
    handlers: readonly HandlerEntry[],
    unit: Unit,
  ): Promise<boolean> {
    const { slots, stopping } = this.#parts
    slots?.release()
    const release = await takeAll(limits, stopping)
    await slots?.taken()
    if (release === undefined) return false
    try {
      const failures = await this.#attempt(handlers, unit, 1)
      release()
      return failures.length === 0 ? this.#succeed(unit) : await this.#persist(unit, failures)
    } finally {
      release()
    }
  }

  /** Refuses an event that cannot be decoded. It reaches no handler, and a retry does not help. */
  #refuse(unit: Unit, error: Error, handlers: readonly HandlerEntry[]): Promise<boolean> {
    this.#parts.monitor.problem('decoding a stored event failed', error)
    const failures = handlers.map((handler) => ({ handler, error }))
    return this.#giveUp(unit, failures, 1, new Date())
  }

  /** Holds events that were read before a pause until the pause ends. */
  async #beginLater(unit: Unit): Promise<boolean> {
    const { gate, stopping } = this.#parts
    return (await gate.passed(stopping)) && this.#begin(unit)
  }

  /** Stops the subscription before the unit: it could not be handled, or a part other than its handlers failed. */
  #stop([{ event, position }]: Unit, error: Error): false {
    const { consumer, onFailed } = this.#parts
    onFailed(new SubscriptionFailedError(consumer.name, { position, eventId: event.eventId }, error))
    return false
  }

  #attempt(handlers: readonly HandlerEntry[], unit: Unit, attempt: number): Failures | Promise<Failures> {
    const { consumer, tracer, abandoned } = this.#parts
    const info = new AttemptInfo(consumer.name, unit[0].position, attempt, abandoned)
    const outcome = tracer.around(PROCESS_SPAN, { handlers, unit, info }, this.#dispatch)
    return outcome instanceof Promise ? this.#running.track(outcome) : outcome
  }

  readonly #dispatch = ({ handlers, unit, info }: Attempt) =>
    this.#dispatcher.run(handlers, unit[0].event, info)

  async #persist(unit: Unit, first: Failures | Promise<Failures>): Promise<boolean> {
    const failures = await first
    if (failures.length === 0) return this.#succeed(unit)
    const firstFailedAt = new Date()
    const { monitor, abandoned } = this.#parts
    monitor.retrying += unit.length
    try {
      const retries = new HandlerRetries(this.#policies, this.#stepsOf(unit))
      const givenUp = await retries.run(failures, () => 1)
      if (givenUp === undefined || abandoned.aborted) return false
      if (givenUp.length === 0) return this.#succeed(unit)
      const attempts = Math.max(...givenUp.map((handler) => handler.attempts))
      return await this.#giveUp(unit, givenUp, attempts, firstFailedAt)
    } finally {
      monitor.retrying -= unit.length
    }
  }

  #stepsOf(unit: Unit): RetrySteps {
    const { slots, stopping, gate, abandoned, consumer } = this.#parts
    return {
      sleep: async (ms, ended) =>
        (await sleep(ms, stopping, ended)) && (await gate.passed(stopping)) && !stopping.aborted,
      event: unit[0].event,
      stopping,
      enter: () => slots?.taken() ?? Promise.resolve(),
      leave: () => slots?.release(),
      waiting: () => Promise.resolve(true),
      starting: () => Promise.resolve(!stopping.aborted),
      // A failure of the stores of a transactional projection is no failure of its handlers.
      isOutage: (error) => consumer.bound?.isOutage(error) === true,
      run: ({ handlers, attempt }) => this.#attempt(handlers, unit, attempt),
      discarded: (failure, attempt) => this.#discarded(unit, failure, attempt),
      get isAbandoned() {
        return abandoned.aborted
      },
    }
  }

  #discarded([{ event, position }]: Unit, { handler, error }: HandlerFailure, attempt: number): void {
    const { consumer, monitor, logger } = this.#parts
    monitor.eventsDiscarded += 1
    const { eventId, eventType } = event
    const at = { subscription: consumer.name, position, eventId, eventType, attempt }
    logger.warn('event discarded', { ...at, handlerName: handler.name, error })
  }

  /** Waits between two attempts, and during a pause. @returns false if the subscription is stopping. */
  async #rest(delayMs: number): Promise<boolean> {
    const { slots, stopping, gate } = this.#parts
    slots?.release()
    const isOver = (await sleep(delayMs, stopping)) && (await gate.passed(stopping))
    await slots?.taken()
    return isOver && !stopping.aborted
  }

  #succeed(unit: Unit): boolean {
    if (this.#parts.abandoned.aborted) return false
    this.#parts.monitor.eventsHandled += unit.length
    return true
  }

  async #giveUp(unit: Unit, failures: Failures, attempts: number, firstFailedAt: Date): Promise<boolean> {
    const { options, deadLetters, consumer } = this.#parts
    const [{ event, position }, ...others] = unit
    const error = failures[0]?.error ?? new Error('unknown')
    if (options.onFailure === 'stop' || deadLetters === undefined) return this.#stop(unit, error)
    if (others.length > 0) return this.#handleOneByOne(unit)
    return this.#park(deadLetters, {
      subscription: consumer.name,
      position,
      event: parkable(event),
      handlerNames: failures.map(({ handler }) => recordedName(handler)),
      ...parkedError(error, options),
      attempts,
      firstFailedAt,
      failedAt: new Date(),
    })
  }

  /** Handles a failed batch event by event. Only events that also fail on their own are dead-lettered. */
  async #handleOneByOne(unit: Unit): Promise<boolean> {
    for (const stored of unit) {
      if (!(await this.handle([stored]))) return false
    }
    return true
  }

  /** Retries until the dead letter is stored. */
  async #park(deadLetters: SubscriptionDeadLetterStore, parked: ParkedEvent): Promise<boolean> {
    const { monitor, logger } = this.#parts
    for (let failure = 1; ; failure += 1) {
      try {
        const park = this.#parts.consumer.bound?.park
        await (park === undefined ? deadLetters.add(parked) : park(parked))
        break
      } catch (thrown) {
        monitor.trouble('deadLetters', 'dead-lettering failed', toError(thrown))
      }
      if (!(await this.#rest(STORE_BACKOFF.backoff(failure)))) return false
    }
    monitor.troubleOver('deadLetters')
    monitor.eventsDeadLettered += 1
    const { event, errorStack: _stack, ...fields } = parked
    logger.error('event dead-lettered', { ...fields, eventId: event.eventId, eventType: event.eventType })
    return !this.#parts.abandoned.aborted
  }
}

interface Attempt {
  readonly handlers: readonly HandlerEntry[]
  readonly unit: Unit
  readonly info: AttemptInfo
}

/** The context of a handler. The text of the position is created when it is first read. */
class AttemptInfo implements RunInfo {
  readonly consumerGroup: string
  readonly attempt: number
  readonly busSignal: AbortSignal
  readonly #position: number

  constructor(subscription: string, position: number, attempt: number, abandoned: AbortSignal) {
    this.consumerGroup = subscription
    this.attempt = attempt
    this.busSignal = abandoned
    this.#position = position
  }

  get deliveryCount(): number {
    return 1
  }

  get messageId(): string {
    return String(this.#position)
  }
}

/** Longest attribute of a span that comes from an event, in characters. */
const MAX_ATTRIBUTE = 256

const PROCESS_SPAN: SpanKindOf<Attempt> = {
  role: 'consumer',
  leavesFailuresToChildren: true,
  name: ({ unit: [{ event }], info }) => `${info.consumerGroup}.process ${registeredType(event)}`,
  attributes: ({ unit, info }) => ({
    'messaging.system': 'eventspine',
    'messaging.operation.type': 'process',
    'messaging.operation.name': 'process',
    'messaging.consumer.group.name': info.consumerGroup,
    'messaging.message.id': shorten(unit[0].event.eventId, MAX_ATTRIBUTE),
    ...(unit.length > 1 && { 'messaging.batch.message_count': unit.length }),
    'eventspine.event.type': shorten(unit[0].event.eventType, MAX_ATTRIBUTE),
    'eventspine.event.id': shorten(unit[0].event.eventId, MAX_ATTRIBUTE),
    'eventspine.position': unit[0].position,
    'eventspine.attempt': info.attempt,
  }),
}
