import { asInstanceOf, isInstanceOf } from '../codec/convert-event.ts'
import { refuseBeyondDefaults } from '../codec/publish-limits.ts'
import { toError } from '../errors.ts'
import type { Cause } from '../events/causation.ts'
import type { DomainEvent } from '../events/index.ts'
import type { Dispatcher } from '../handling/dispatcher.ts'
import type { HandlerRegistry } from '../handling/handler-registry.ts'
import type { RunInfo } from '../handling/handler-run.ts'
import { IdleCounter } from '../kit/idle-counter.ts'
import { TurnSlices } from '../kit/turn-slices.ts'
import type { EventTracer } from '../observability/tracer.ts'
import type { EventRing } from './admin/event-ring.ts'
import { causedBy } from './event-bus.ts'
import type { InMemoryRetries } from './in-memory-retries.ts'
import type { BusMetrics } from './telemetry/bus-metrics.ts'
import { dispatchSpanOf, type MessagingTarget, publishSpanOf } from './telemetry/bus-spans.ts'

const NONE_FAILED: ReadonlyMap<number, Error> = new Map()

/** Events of one call that are checked without a pause. */
const CHECKED_AT_ONCE = 1000

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

/** Hands published events to their handlers. A burst is spread over several turns of the event loop. */
export class InMemoryPublisher {
  readonly #parts: InMemoryPublisherParts
  readonly #publishSpan: ReturnType<typeof publishSpanOf>
  readonly #dispatchSpan: ReturnType<typeof dispatchSpanOf>
  readonly #slices = new TurnSlices()
  readonly #running = new IdleCounter()
  /** When each publish in flight started, oldest first, by the monotonic clock. */
  readonly #starts = new Set<{ readonly at: number }>()

  constructor(parts: InMemoryPublisherParts) {
    this.#parts = parts
    this.#publishSpan = publishSpanOf(parts.target)
    this.#dispatchSpan = dispatchSpanOf(parts.target)
  }

  /** Publishes in flight. */
  get count(): number {
    return this.#running.count
  }

  /** How long the oldest publish is in flight, in milliseconds. */
  get oldestMs(): number {
    const [oldest] = this.#starts
    return oldest === undefined ? 0 : Math.max(0, performance.now() - oldest.at)
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
    const turn = cause === undefined ? this.#slices.enter() : undefined
    return turn === undefined ? this.#publish(events, cause) : this.#publishAfter(turn, events)
  }

  async #publishAfter(turn: Promise<void>, events: readonly DomainEvent[]): Promise<void> {
    await turn
    await this.#publish(events, undefined)
  }

  async #publish(given: readonly DomainEvent[], cause: Cause | undefined): Promise<void> {
    const { metrics, ring, tracer } = this.#parts
    const start = { at: performance.now() }
    this.#starts.add(start)
    let startedAt = 0
    let events = given
    try {
      events = causedBy(given, cause)
      const checking = this.#refuseInvalid(events)
      if (checking !== undefined) await checking
      ring?.add(events)
      if (metrics.refresh() !== undefined) startedAt = performance.now()
      const dispatch = cause === undefined ? this.#dispatchPaced : this.#dispatchNested
      await tracer.around(this.#publishSpan, events, dispatch)
    } finally {
      if (startedAt > 0) metrics.recorder?.published(events, NONE_FAILED, startedAt)
      this.#starts.delete(start)
      this.#running.end()
    }
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

  readonly #dispatchPaced = (events: readonly DomainEvent[]): Promise<void> =>
    this.#dispatch(events, this.#enterSlice)

  readonly #dispatchNested = (events: readonly DomainEvent[]): Promise<void> =>
    this.#dispatch(events, undefined)

  #dispatch(
    events: readonly DomainEvent[],
    pause: (() => Promise<void> | undefined) | undefined,
  ): Promise<void> {
    const { dispatcher, runInfo: info, retries } = this.#parts
    return dispatcher.runEach({
      events: this.#readable(events),
      handlersFor: this.#handlersOf,
      info,
      pause,
      span: this.#dispatchSpan,
      recover: retries.recover,
    })
  }

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
