import { setImmediate as nextTurn } from 'node:timers'
import { toError } from '../errors.ts'
import { causedFromHereBy, HandledEvent, runCausedBy } from '../events/causation.ts'
import type { DomainEvent } from '../events/index.ts'
import type { EventTracer, SpanKindOf } from '../observability/tracer.ts'
import { HandlerTimeoutError } from './errors.ts'
import type { HandlerEntry } from './handler-entry.ts'
import { haveLimits, limitsOf, takeAll } from './handler-limit.ts'
import { HandlerRun, type RunInfo } from './handler-run.ts'
import { HANDLER_SPAN } from './handler-span.ts'
import { type HandlingMiddlewares, NO_MIDDLEWARE } from './handling-middleware.ts'
import { RunningHandlers } from './running-handlers.ts'

/** A handler that failed, and its error. */
export interface HandlerFailure {
  readonly handler: HandlerEntry
  readonly error: Error
}

/** Notified when a handler settles. Must not throw. */
export interface DispatchObserver {
  handled(event: DomainEvent, handler: HandlerEntry): void
  failed(event: DomainEvent, failure: HandlerFailure, info: RunInfo): void
}

/** Records measurements of handling. The bus implements it with its `MetricsRecorder`. */
export interface HandlingRecorder {
  /** The handling of an event starts. */
  consumed(event: DomainEvent): void
  /** One run of one handler ended. */
  ran(event: DomainEvent, handlerName: string, error: Error | undefined, startedAt: number): void
  /** The handling of an event ended. */
  handled(
    event: DomainEvent,
    outcome: 'success' | 'failure',
    reason: undefined,
    startedAt: number | undefined,
  ): void
}

/** Gives access to the recorder, which is undefined while no metrics are recorded. */
export interface HandlingMetrics {
  readonly recorder: HandlingRecorder | undefined
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

type Failures = readonly HandlerFailure[]

/** An event and the handlers that it is dispatched to. */
interface Dispatch {
  readonly handlers: readonly HandlerEntry[]
  readonly event: DomainEvent
  readonly info: RunInfo
  /** Ends when the last handler ends. Undefined for the events of one publish, whose handlers end together. */
  readonly running?: RunningHandlers
}

/** The events of one publish, and how to find their handlers. */
export interface EventSequence {
  readonly events: readonly DomainEvent[]
  /** Called for an event just before it is handled. */
  readonly handlersFor: (event: DomainEvent) => readonly HandlerEntry[]
  readonly info: RunInfo
  /** Called between two events. The next one waits for the promise, if there is one. */
  readonly pause: (() => Promise<void> | undefined) | undefined
  /** The span around all handlers of one event. */
  readonly span: SpanKindOf<{ readonly event: DomainEvent }>
  /** Decides what follows failed attempts. Must not reject. @returns true if no handler is left that failed. */
  readonly recover: (event: DomainEvent, failures: Failures) => Promise<boolean>
}

interface SequenceRun {
  readonly sequence: EventSequence
  readonly running: RunningHandlers
  /** The first event. */
  readonly cause: HandledEvent | undefined
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
  }

  /** Never throws or rejects. @returns the failures in the order in which they occurred. */
  run(handlers: readonly HandlerEntry[], event: DomainEvent, info: RunInfo): Failures | Promise<Failures> {
    const running = new RunningHandlers(this.#owner, info)
    return running.around(this.#runCaused, { handlers, event, info, running })
  }

  readonly #runCaused = (dispatch: Dispatch) => {
    const { event, handlers } = dispatch
    const [only] = handlers
    const cause = new HandledEvent(event, handlers.length === 1 ? only?.name : undefined)
    return this.#causedBy(cause, this.#runAll, dispatch)
  }

  readonly #runAll = ({ handlers, event, info, running }: Dispatch): Failures | Promise<Failures> => {
    const failures: HandlerFailure[] = []
    let open = 0
    let whenSettled: PromiseWithResolvers<Failures> | undefined
    const areNamed = handlers.length > 1 && this.#namesHandlers()
    const settled = () => {
      open -= 1
      if (open > 0 || whenSettled === undefined) return
      running?.end()
      whenSettled.resolve(failures)
    }
    for (const handler of handlers) {
      const run = new HandlerRun(handler, event, info)
      try {
        const result = areNamed ? this.#startNamed(run) : this.#start(run)
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
      running?.end()
      return failures.length === 0 ? NO_FAILURES : failures
    }
    whenSettled = Promise.withResolvers()
    return whenSettled.promise
  }

  /** Runs all handlers of an event before those of the next event. Never rejects. */
  runEach(sequence: EventSequence): Promise<void> {
    const running = new RunningHandlers(this.#owner, sequence.info)
    const [first] = sequence.events
    const cause = first && new HandledEvent(first)
    return running.around(this.#runSequenceCaused, { sequence, running, cause })
  }

  readonly #runSequenceCaused = (run: SequenceRun): Promise<void> =>
    run.cause === undefined ? Promise.resolve() : this.#causedBy(run.cause, this.#runSequence, run)

  readonly #runSequence = async ({ sequence, running, cause: first }: SequenceRun): Promise<void> => {
    const { events, handlersFor, info, pause, span, recover } = sequence
    let cause = first
    let isFirst = true
    for (const event of events) {
      const paused = isFirst ? undefined : pause?.()
      if (paused !== undefined) await paused
      if (!isFirst && this.#cause === 'event') {
        cause = new HandledEvent(event)
        causedFromHereBy(cause)
      }
      isFirst = false
      const { recorder } = this.#metrics
      recorder?.consumed(event)
      const startedAt = recorder === undefined ? undefined : performance.now()
      const handlers = handlersFor(event)
      const only = handlers.length === 1 ? handlers[0] : undefined
      let release: (() => void) | undefined
      if (only === undefined ? haveLimits(handlers) : only.limit !== undefined) {
        release = await takeAll(limitsOf(handlers), info.busSignal)
        if (release === undefined) continue
      }
      if (only === undefined) {
        const outcome = this.#tracer.around(span, { event }, () => this.#runAll({ handlers, event, info }))
        const failures = outcome instanceof Promise ? await outcome : outcome
        release?.()
        const isHandled = failures.length === 0 || (await recover(event, failures))
        recorder?.handled(event, isHandled ? 'success' : 'failure', undefined, startedAt)
        continue
      }
      // Most events have one handler. Awaiting its promise directly, instead of wrapping it in another promise, halves
      // the cost.
      const run = new HandlerRun(only, event, info)
      if (cause !== undefined) cause.handlerName = only.name
      try {
        const result = this.#tracer.around(span, run, this.#start)
        if (result !== undefined) {
          await result
          this.#succeeded(run)
        }
        release?.()
        recorder?.handled(event, 'success', undefined, startedAt)
      } catch (thrown) {
        release?.()
        const isHandled = await recover(event, [this.#failed(run, thrown)])
        recorder?.handled(event, isHandled ? 'success' : 'failure', undefined, startedAt)
      }
    }
    running.end()
  }

  /** @returns a promise if the handler is asynchronous, undefined if it has succeeded. @throws what the handler throws. */
  readonly #start = (run: HandlerRun): Promise<unknown> | undefined => {
    const { handler, event } = run
    // A handler that declines the event counts as having handled it.
    if (handler.accepts !== undefined && !handler.accepts(event)) return undefined
    if (this.#metrics.recorder !== undefined) run.startedAt = performance.now()
    const result = this.#tracer.around(HANDLER_SPAN, run, this.#middleware.invoke)
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
  #startNamed(run: HandlerRun): Promise<unknown> | undefined {
    if (this.#cause !== 'event') return this.#start(run)
    return runCausedBy(new HandledEvent(run.event, run.handler.name), this.#start, run)
  }

  #causedBy<A, R>(event: HandledEvent, body: (argument: A) => R, argument: A): R {
    if (this.#cause === 'inherited') return body(argument)
    return runCausedBy(this.#cause === 'event' ? event : undefined, body, argument)
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
