import { type CallerContext, HandledEvent } from '../events/causation.ts'
import type { DomainEvent } from '../events/index.ts'
import type { EventSpan, EventTracer, SpanKindOf } from '../observability/tracer.ts'
import type { HandlerEntry } from './handler-entry.ts'
import type { Failures, HandlerFailure } from './handler-failure.ts'
import { haveLimits, limitsOf, takeAll } from './handler-limit.ts'
import { HandlerRun, type RunInfo } from './handler-run.ts'
import type { HandlingMetrics } from './handling-metrics.ts'
import type { RunningHandlers } from './running-handlers.ts'

/** How a bus handles the events of each publish. */
export interface SequencePlan {
  /** Called for an event just before it is handled. */
  readonly handlersFor: (event: DomainEvent) => readonly HandlerEntry[]
  readonly info: RunInfo
  /** The span around all handlers of one event. */
  readonly span: SpanKindOf<{ readonly event: DomainEvent }>
  /** Decides what follows failed attempts. Must not reject. @returns true if no handler is left that failed. */
  readonly recover: (event: DomainEvent, failures: Failures) => Promise<boolean>
}

/** What the events of one publish have in common. */
export interface SequenceScope {
  readonly tracer: EventTracer
  readonly running: RunningHandlers
  /** Undefined if the handlers run in the context of the code that starts the sequence, because no event is their cause. */
  readonly caller: CallerContext | undefined
}

/** Called between two events. The next one waits for the promise, if there is one. */
export type Pause = (() => Promise<void> | undefined) | undefined

/** What the dispatcher does for a sequence. */
export interface SequenceSteps {
  readonly metrics: HandlingMetrics
  /**
   * Starts one handler.
   * @param span - the span around it.
   * @returns a promise if it is asynchronous.
   * @throws what the handler throws.
   */
  readonly start: (run: HandlerRun, span: EventSpan) => Promise<unknown> | undefined
  /** Runs several handlers. Never throws or rejects. */
  readonly runAll: (
    handlers: readonly HandlerEntry[],
    event: DomainEvent,
    info: RunInfo,
    running: RunningHandlers,
  ) => Failures | Promise<Failures>
  readonly succeeded: (run: HandlerRun) => void
  readonly failed: (run: HandlerRun, thrown: unknown) => HandlerFailure
}

interface Handled {
  readonly event: DomainEvent
  readonly handlers: readonly HandlerEntry[]
}

interface Failed {
  readonly event: DomainEvent
  readonly failures: Failures
}

/**
 * The events of one publish, handled in order. As long as handlers are synchronous and succeed, nothing is awaited: an await
 * takes more time than most of these handlers.
 */
export class EventSequence {
  readonly #steps: SequenceSteps
  readonly #plan: SequencePlan
  readonly #events: readonly DomainEvent[]
  readonly #pause: Pause
  readonly #tracer: EventTracer
  readonly #running: RunningHandlers
  readonly #caller: CallerContext | undefined
  #next = 0
  #hasPaused = false
  /** The run of the only handler of an event, while its promise is pending. */
  #pending: HandlerRun | undefined
  /** When the handling of the current event started; undefined if no metrics are recorded. */
  #startedAt: number | undefined

  constructor(
    steps: SequenceSteps,
    plan: SequencePlan,
    events: readonly DomainEvent[],
    pause: Pause,
    { tracer, running, caller }: SequenceScope,
  ) {
    this.#steps = steps
    this.#plan = plan
    this.#events = events
    this.#pause = pause
    this.#tracer = tracer
    this.#running = running
    this.#caller = caller
  }

  /** Never throws or rejects. @returns undefined if all handlers have ended. */
  static start(sequence: EventSequence): Promise<void> | undefined {
    const pending = sequence.#advance()
    if (pending !== undefined) return sequence.#finish(pending)
    sequence.#running.end()
    return undefined
  }

  async #finish(first: Promise<unknown>): Promise<void> {
    let waitFor: Promise<unknown> | undefined = first
    while (waitFor !== undefined) {
      const run = this.#pending
      this.#pending = undefined
      try {
        await waitFor
        if (run !== undefined) this.#succeeded(run)
      } catch (thrown) {
        // Only the handler of a run rejects.
        if (run !== undefined) await this.#failed(run, thrown)
      }
      waitFor = this.#advance()
    }
    this.#running.end()
  }

  /** Handles the next events. @returns what to wait for before calling it again; undefined after the last event. */
  #advance(): Promise<unknown> | undefined {
    while (this.#next < this.#events.length) {
      if (this.#next > 0 && !this.#hasPaused) {
        const paused = this.#pause?.()
        this.#hasPaused = paused !== undefined
        if (paused !== undefined) return paused
      }
      this.#hasPaused = false
      const event = this.#events[this.#next]
      this.#next += 1
      const waitFor = event && this.#handle(event)
      if (waitFor !== undefined) return waitFor
    }
    return undefined
  }

  #handle(event: DomainEvent): Promise<unknown> | undefined {
    const { recorder } = this.#steps.metrics
    recorder?.consumed(event)
    this.#startedAt = recorder === undefined ? undefined : performance.now()
    const handlers = this.#plan.handlersFor(event)
    if (haveLimits(handlers)) return this.#runLimited(handlers, event)
    const [only] = handlers
    // Most events have one handler. Awaiting its promise directly, instead of wrapping it in another promise, halves
    // the cost.
    return only === undefined || handlers.length > 1
      ? this.#runAll(handlers, event)
      : this.#runOne(only, event)
  }

  #runOne(handler: HandlerEntry, event: DomainEvent): Promise<unknown> | undefined {
    const run = new HandlerRun(handler, event, this.#plan.info)
    try {
      const result = this.#inFrame(event, handler.name, EventSequence.#startOne, run)
      if (result !== undefined) this.#pending = run
      else this.#recorded(event, true)
      return result
    } catch (thrown) {
      return this.#failed(run, thrown)
    }
  }

  async #runLimited(handlers: readonly HandlerEntry[], event: DomainEvent): Promise<void> {
    const release = await takeAll(limitsOf(handlers), this.#plan.info.busSignal)
    if (release !== undefined) await this.#runAll(handlers, event, release)
  }

  /** @param release - called when all handlers have ended, before any further attempt. */
  #runAll(
    handlers: readonly HandlerEntry[],
    event: DomainEvent,
    release?: () => void,
  ): Promise<unknown> | undefined {
    const [only] = handlers
    const name = handlers.length === 1 ? only?.name : undefined
    const outcome = this.#inFrame(event, name, EventSequence.#startAll, { handlers, event })
    if (outcome instanceof Promise) {
      return outcome.then((failures) => {
        release?.()
        return this.#ended(event, failures)
      })
    }
    release?.()
    return this.#ended(event, outcome)
  }

  #inFrame<S, R>(
    event: DomainEvent,
    handlerName: string | undefined,
    body: (sequence: EventSequence, subject: S) => R,
    subject: S,
  ): R {
    if (this.#caller === undefined) return body(this, subject)
    return this.#caller.run(new HandledEvent(event, handlerName, this.#running), body, this, subject)
  }

  static #startOne(sequence: EventSequence, run: HandlerRun): Promise<unknown> | undefined {
    return sequence.#tracer.around(sequence.#plan.span, run, sequence.#steps.start)
  }

  static #startAll(sequence: EventSequence, { event, handlers }: Handled): Failures | Promise<Failures> {
    const { info, span } = sequence.#plan
    return sequence.#tracer.around(span, { event }, () =>
      sequence.#steps.runAll(handlers, event, info, sequence.#running),
    )
  }

  static #recovering(sequence: EventSequence, { event, failures }: Failed): Promise<boolean> {
    return sequence.#plan.recover(event, failures)
  }

  #succeeded(run: HandlerRun): void {
    this.#steps.succeeded(run)
    this.#recorded(run.event, true)
  }

  #failed(run: HandlerRun, thrown: unknown): Promise<void> {
    return this.#recover(run.event, [this.#steps.failed(run, thrown)])
  }

  #ended(event: DomainEvent, failures: Failures): Promise<void> | undefined {
    if (failures.length > 0) return this.#recover(event, failures)
    this.#recorded(event, true)
    return undefined
  }

  async #recover(event: DomainEvent, failures: Failures): Promise<void> {
    const isHandled = await this.#inFrame(event, undefined, EventSequence.#recovering, { event, failures })
    this.#recorded(event, isHandled)
  }

  #recorded(event: DomainEvent, isHandled: boolean): void {
    const { recorder } = this.#steps.metrics
    recorder?.handled(event, isHandled ? 'success' : 'failure', undefined, this.#startedAt)
  }
}
