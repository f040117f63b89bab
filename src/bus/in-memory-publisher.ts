import { asInstanceOf, isInstanceOf } from '../codec/convert-event.ts'
import { refuseBeyondDefaults } from '../codec/publish-limits.ts'
import { toError } from '../errors.ts'
import type { Cause } from '../events/causation.ts'
import type { DomainEvent } from '../events/index.ts'
import type { Dispatcher } from '../handling/dispatcher.ts'
import type { SequencePlan } from '../handling/event-sequence.ts'
import type { HandlerRegistry } from '../handling/handler-registry.ts'
import type { RunInfo } from '../handling/handler-run.ts'
import { Aged, AgeList } from '../kit/age-list.ts'
import { IdleCounter } from '../kit/idle-counter.ts'
import { TurnSlices } from '../kit/turn-slices.ts'
import type { EventSpan, EventTracer } from '../observability/tracer.ts'
import type { EventRing } from './admin/event-ring.ts'
import { causedBy } from './event-bus.ts'
import type { InMemoryRetries } from './in-memory-retries.ts'
import type { BusMetrics } from './telemetry/bus-metrics.ts'
import { dispatchSpanOf, type MessagingTarget, publishSpanOf } from './telemetry/bus-spans.ts'

const NONE_FAILED: ReadonlyMap<number, Error> = new Map()

/** Events of one call that are checked without a pause. */
const CHECKED_AT_ONCE = 1000

/** Publishes on the call stack, each from a handler of the one before. */
const MAX_DEPTH = 32

export interface InMemoryPublisherParts {
  readonly target: MessagingTarget
  readonly handlers: HandlerRegistry
  readonly dispatcher: Dispatcher
  readonly retries: InMemoryRetries
  readonly metrics: BusMetrics
  readonly tracer: EventTracer
  readonly runInfo: RunInfo
  /** Keeps the last events for `bus.admin`. */
  readonly ring: EventRing | undefined
  /** Called for each event just before it is handled. */
  readonly onPublished: () => void
  /** Called for an event that its class refuses. It is not handled. */
  readonly onRefused: (event: DomainEvent, error: Error) => void
}

/** A publish in flight. */
class Call extends Aged {
  events: readonly DomainEvent[]
  /** When the handling started, by the monotonic clock; 0 if no metrics are recorded. */
  measuredFrom = 0

  constructor(events: readonly DomainEvent[]) {
    super()
    this.events = events
  }
}

/** Hands published events to their handlers. A burst is spread over several turns of the event loop. */
export class InMemoryPublisher {
  readonly #parts: InMemoryPublisherParts
  readonly #publishSpan: ReturnType<typeof publishSpanOf>
  readonly #plan: SequencePlan
  readonly #slices = new TurnSlices()
  readonly #running = new IdleCounter()
  readonly #calls = new AgeList()
  /** Publishes on the call stack. */
  #depth = 0

  constructor(parts: InMemoryPublisherParts) {
    this.#parts = parts
    this.#publishSpan = publishSpanOf(parts.target)
    this.#plan = {
      handlersFor: this.#handlersOf,
      info: parts.runInfo,
      span: dispatchSpanOf(parts.target),
      recover: parts.retries.recover,
    }
  }

  /** Publishes in flight. */
  get count(): number {
    return this.#running.count
  }

  /** How long the oldest publish is in flight, in milliseconds. */
  get oldestMs(): number {
    return this.#calls.oldestMs
  }

  /** Resolves when no publish is in flight. */
  drained(): Promise<void> {
    return this.#running.whenIdle()
  }

  /**
   * Refuses the events that a broker bus with the default codec would refuse, so that a program can move to a broker.
   * @param cause - the event whose handler publishes. It waits for this publish, which therefore does not wait behind the
   * rest of a burst.
   */
  publish(events: readonly DomainEvent[], cause: Cause | undefined): Promise<void> {
    this.#running.start()
    const turn = cause === undefined ? this.#slices.enter() : this.#emptyStack()
    return turn === undefined ? this.#publish(events, cause) : this.#publishAfter(turn, events, cause)
  }

  async #publishAfter(
    turn: Promise<void>,
    events: readonly DomainEvent[],
    cause: Cause | undefined,
  ): Promise<void> {
    await turn
    await this.#publish(events, cause)
  }

  /** @returns a promise if handlers have published from within handlers so often that the call stack would overflow. */
  #emptyStack(): Promise<void> | undefined {
    return this.#depth < MAX_DEPTH ? undefined : Promise.resolve()
  }

  /** Awaits nothing if the handlers are synchronous and succeed. */
  #publish(events: readonly DomainEvent[], cause: Cause | undefined): Promise<void> {
    const call = new Call(events)
    this.#calls.add(call)
    this.#depth += 1
    try {
      const pending = this.#start(call, cause)
      if (pending !== undefined) return this.#endAfter(call, pending)
    } catch (thrown) {
      this.#end(call)
      return Promise.reject(thrown)
    } finally {
      this.#depth -= 1
    }
    this.#end(call)
    return Promise.resolve()
  }

  /** @throws what a broker bus would. */
  #start(call: Call, cause: Cause | undefined): Promise<void> | undefined {
    call.events = causedBy(call.events, cause)
    const checking = this.#refuseInvalid(call.events)
    return checking === undefined
      ? this.#dispatch(call, cause)
      : checking.then(() => this.#dispatch(call, cause))
  }

  #dispatch(call: Call, cause: Cause | undefined): Promise<void> | undefined {
    const { metrics, ring, tracer } = this.#parts
    ring?.add(call.events)
    if (metrics.refresh() !== undefined) call.measuredFrom = performance.now()
    const dispatch = cause === undefined ? this.#dispatchPaced : this.#dispatchNested
    return tracer.around(this.#publishSpan, call.events, dispatch)
  }

  async #endAfter(call: Call, pending: Promise<void>): Promise<void> {
    try {
      await pending
    } finally {
      this.#end(call)
    }
  }

  #end(call: Call): void {
    if (call.measuredFrom > 0)
      this.#parts.metrics.recorder?.published(call.events, NONE_FAILED, call.measuredFrom)
    this.#calls.delete(call)
    this.#running.end()
  }

  /** @returns a promise if there are many. @throws what a broker bus would. */
  #refuseInvalid(events: readonly DomainEvent[]): Promise<void> | undefined {
    if (events.length > CHECKED_AT_ONCE) return this.#refuseInvalidOfMany(events)
    for (const event of events) refuseBeyondDefaults(event)
    return undefined
  }

  async #refuseInvalidOfMany(events: readonly DomainEvent[]): Promise<void> {
    for (let from = 0; from < events.length; from += CHECKED_AT_ONCE) {
      for (const event of events.slice(from, from + CHECKED_AT_ONCE)) refuseBeyondDefaults(event)
      await this.#slices.enter()
    }
  }

  readonly #enterSlice = (): Promise<void> | undefined => this.#slices.enter()

  readonly #dispatchPaced = (events: readonly DomainEvent[], span: EventSpan) =>
    this.#parts.dispatcher.runEach(this.#readable(events), this.#enterSlice, this.#plan, span)

  readonly #dispatchNested = (events: readonly DomainEvent[], span: EventSpan) =>
    this.#parts.dispatcher.runEach(this.#readable(events), undefined, this.#plan, span)

  readonly #handlersOf = (event: DomainEvent) => {
    this.#parts.onPublished()
    return this.#parts.handlers.handlersFor(event.eventType)
  }

  /** The events as a consumer of a broker decodes them: instances of the classes that handlers subscribed to. */
  #readable(events: readonly DomainEvent[]): readonly DomainEvent[] {
    const { classFor } = this.#parts.handlers
    for (const event of events) {
      if (!isInstanceOf(event, classFor(event.eventType)))
        return events.flatMap((each) => this.#converted(each))
    }
    return events
  }

  #converted(event: DomainEvent): readonly DomainEvent[] {
    const { handlers, onRefused } = this.#parts
    const { eventType } = event
    if (handlers.handlersFor(eventType).length === 0) return [event]
    try {
      return [asInstanceOf(event, handlers.classFor(eventType))]
    } catch (thrown) {
      onRefused(event, toError(thrown))
      return []
    }
  }
}
