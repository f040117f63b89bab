import { setImmediate as nextTurn } from 'node:timers'
import { toError } from '../errors.ts'
import { CallerContext, currentCause, HandledEvent, type HandlingFrame } from '../events/causation.ts'
import type { DomainEvent } from '../events/index.ts'
import { type EventSpan, type EventTracer, tracerWithin } from '../observability/tracer.ts'
import { HandlerTimeoutError } from './errors.ts'
import { EventSequence, type Pause, type SequencePlan, type SequenceSteps } from './event-sequence.ts'
import type { HandlerEntry } from './handler-entry.ts'
import type { Failures, HandlerFailure } from './handler-failure.ts'
import { HandlerRun, type RunInfo } from './handler-run.ts'
import { HANDLER_SPAN } from './handler-span.ts'
import type { HandlingMetrics } from './handling-metrics.ts'
import { type HandlingMiddlewares, NO_MIDDLEWARE } from './handling-middleware.ts'
import { RunningHandlers } from './running-handlers.ts'

/** Notified when a handler settles. Must not throw. */
export interface DispatchObserver {
  handled(event: DomainEvent, handler: HandlerEntry): void
  failed(event: DomainEvent, failure: HandlerFailure, info: RunInfo): void
}

export interface DispatcherOptions {
  /** The bus or subscription that waits for its handlers when it stops. */
  readonly owner: object
  readonly tracer: EventTracer
  /** Maximum duration of one attempt of a handler, in milliseconds; Infinity for no limit. */
  readonly handlerTimeoutMs: number
  /**
   * The cause of the events that a handler creates or publishes: the handled event (`'event'`), no event (`'none'`), or
   * the cause that is set in the code that dispatches (`'inherited'`).
   */
  readonly cause: 'event' | 'none' | 'inherited'
  readonly metrics: HandlingMetrics
  readonly observer: DispatchObserver
  /** What runs around the handlers. Default none. */
  readonly middleware?: HandlingMiddlewares
}

/** Events with several handlers whose causes name the handler. */
const NAMED_FIRST = 100

export const NO_FAILURES: readonly HandlerFailure[] = Object.freeze([])

/** An event and the handlers that it is dispatched to. */
interface Dispatch {
  readonly handlers: readonly HandlerEntry[]
  readonly event: DomainEvent
  readonly info: RunInfo
  readonly running: RunningHandlers
  /** True if `running` ends with these handlers. */
  readonly areLast: boolean
}

/**
 * Runs the handlers of one event concurrently and isolated from each other: a failing handler stops no other. Returns a
 * promise only if a handler is asynchronous, because an await would be most of the cost of a synchronous handler.
 */
export class Dispatcher {
  readonly #owner: object
  readonly #tracer: EventTracer
  readonly #handlerTimeoutMs: number
  readonly #cause: DispatcherOptions['cause']
  readonly #metrics: HandlingMetrics
  readonly #observer: DispatchObserver
  readonly #middleware: HandlingMiddlewares
  readonly #sequenceSteps: SequenceSteps
  /** Events with several handlers. */
  #withSeveral = 0

  constructor({ owner, tracer, handlerTimeoutMs, cause, metrics, observer, middleware }: DispatcherOptions) {
    this.#owner = owner
    this.#tracer = tracer
    this.#handlerTimeoutMs = handlerTimeoutMs
    this.#cause = cause
    this.#metrics = metrics
    this.#observer = observer
    this.#middleware = middleware ?? NO_MIDDLEWARE
    this.#sequenceSteps = {
      metrics,
      start: this.#start,
      runAll: (handlers, event, info, running) =>
        this.#runAll({ handlers, event, info, running, areLast: false }),
      succeeded: (run) => this.#succeeded(run),
      failed: (run, thrown) => this.#failed(run, thrown),
    }
  }

  /** Never throws or rejects. @returns the failures in the order in which they occurred. */
  run(handlers: readonly HandlerEntry[], event: DomainEvent, info: RunInfo): Failures | Promise<Failures> {
    const running = new RunningHandlers(this.#owner, info)
    const [only] = handlers
    if (only !== undefined && handlers.length === 1) {
      const frame = this.#frameOf(running, event, only.name)
      return new CallerContext().run(frame, this.#runOne, new HandlerRun(only, event, info), running)
    }
    const dispatch = { handlers, event, info, running, areLast: true }
    return new CallerContext().run(this.#frameOf(running, event), this.#runAll, dispatch, undefined)
  }

  readonly #runOne = (run: HandlerRun, running: RunningHandlers): Failures | Promise<Failures> => {
    let failures = NO_FAILURES
    try {
      const result = this.#start(run)
      if (result !== undefined) return this.#outcomeOf(run, result, running)
    } catch (thrown) {
      failures = [this.#failed(run, thrown)]
    }
    running.end()
    return failures
  }

  async #outcomeOf(run: HandlerRun, result: Promise<unknown>, running: RunningHandlers): Promise<Failures> {
    let failures = NO_FAILURES
    try {
      await result
      this.#succeeded(run)
    } catch (thrown) {
      failures = [this.#failed(run, thrown)]
    }
    running.end()
    return failures
  }

  readonly #runAll = ({
    handlers,
    event,
    info,
    running,
    areLast,
  }: Dispatch): Failures | Promise<Failures> => {
    const failures: HandlerFailure[] = []
    let open = 0
    let whenSettled: PromiseWithResolvers<Failures> | undefined
    const areNamed = handlers.length > 1 && this.#namesHandlers()
    const settled = () => {
      open -= 1
      if (open > 0 || whenSettled === undefined) return
      if (areLast) running.end()
      whenSettled.resolve(failures)
    }
    for (const handler of handlers) {
      const run = new HandlerRun(handler, event, info)
      try {
        const result = areNamed ? this.#startNamed(run, running) : this.#start(run)
        if (result === undefined) continue
        open += 1
        void result.then(
          () => {
            this.#succeeded(run)
            settled()
          },
          (thrown: unknown) => {
            failures.push(this.#failed(run, thrown))
            settled()
          },
        )
      } catch (thrown) {
        failures.push(this.#failed(run, thrown))
      }
    }
    if (open === 0) {
      if (areLast) running.end()
      return failures.length === 0 ? NO_FAILURES : failures
    }
    whenSettled = Promise.withResolvers()
    return whenSettled.promise
  }

  /**
   * Runs all handlers of an event before those of the next event. Never rejects.
   * @param span - the span of the publish.
   * @returns undefined if all handlers were synchronous and have ended.
   */
  runEach(
    events: readonly DomainEvent[],
    pause: Pause,
    plan: SequencePlan,
    span: EventSpan,
  ): Promise<void> | undefined {
    const running = new RunningHandlers(this.#owner, plan.info)
    const context = new CallerContext()
    const caller = this.#cause === 'event' ? context : undefined
    const scope = { tracer: tracerWithin(span, this.#tracer), running, caller }
    const sequence = new EventSequence(this.#sequenceSteps, plan, events, pause, scope)
    if (caller !== undefined) return EventSequence.start(sequence)
    return context.run(this.#frameOf(running), EventSequence.start, sequence, undefined)
  }

  /**
   * @param span - the span around it, if there is one.
   * @returns a promise if the handler is asynchronous, undefined if it has succeeded.
   * @throws what the handler throws.
   */
  readonly #start = (run: HandlerRun, span?: EventSpan): Promise<unknown> | undefined => {
    const { handler, event } = run
    // A handler that declines the event counts as having handled it.
    if (handler.accepts !== undefined && !handler.accepts(event)) return undefined
    if (this.#metrics.recorder !== undefined) run.startedAt = performance.now()
    const around = span ?? run.info.span
    const tracer = around === undefined ? this.#tracer : tracerWithin(around, this.#tracer)
    const result = tracer.around(HANDLER_SPAN, run, this.#middleware.invoke)
    if (result === undefined) {
      this.#succeeded(run)
      return undefined
    }
    const timeoutMs = handler.policy?.handlerTimeoutMs ?? this.#handlerTimeoutMs
    return timeoutMs === Number.POSITIVE_INFINITY ? result : withTimeout(result, run, timeoutMs)
  }

  /**
   * With several handlers, a cause that names its handler takes a frame of AsyncLocalStorage for each of them. The first
   * events have it, then one of 17: what a handler publishes needs to be seen once.
   */
  #namesHandlers(): boolean {
    this.#withSeveral += 1
    return this.#withSeveral <= NAMED_FIRST || this.#withSeveral % 17 === 0
  }

  /** One of several handlers of an event. */
  #startNamed(run: HandlerRun, running: RunningHandlers): Promise<unknown> | undefined {
    if (this.#cause !== 'event') return this.#start(run)
    const frame = new HandledEvent(run.event, run.handler.name, running)
    return new CallerContext().run(frame, this.#start, run, undefined)
  }

  #frameOf(running: RunningHandlers, event?: DomainEvent, handlerName?: string): HandlingFrame {
    if (this.#cause === 'event' && event !== undefined) return new HandledEvent(event, handlerName, running)
    return { cause: this.#cause === 'inherited' ? currentCause() : undefined, running }
  }

  #succeeded(run: HandlerRun): void {
    const { event, handler, startedAt } = run
    run.end()
    handler.limit?.guard?.succeeded()
    if (startedAt > 0) this.#metrics.recorder?.ran(event, handler.name, undefined, startedAt)
    this.#observer.handled(event, handler)
  }

  #failed(run: HandlerRun, thrown: unknown): HandlerFailure {
    const { handler, event, info, startedAt } = run
    run.end()
    const failure = { handler, error: toError(thrown) }
    if (startedAt > 0) this.#metrics.recorder?.ran(event, handler.name, failure.error, startedAt)
    this.#observer.failed(event, failure, info)
    return failure
  }
}

/**
 * Fails a run that takes too long. The loop gets one more turn first: after the process has stood still (suspended, or
 * blocked by other code), timers can fire before the answers that have arrived meanwhile.
 */
async function withTimeout(result: Promise<unknown>, run: HandlerRun, timeoutMs: number): Promise<void> {
  const timeout = Promise.withResolvers<never>()
  let lastTurn: NodeJS.Immediate | undefined
  const expire = () => {
    const error = new HandlerTimeoutError(run.handler.name, timeoutMs)
    timeout.reject(error)
    run.abort(error)
  }
  const timer = setTimeout(() => {
    lastTurn = nextTurn(expire)
  }, timeoutMs)
  try {
    await Promise.race([result, timeout.promise])
  } finally {
    clearTimeout(timer)
    clearImmediate(lastTurn)
  }
}
