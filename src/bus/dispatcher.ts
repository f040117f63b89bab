import { toError } from '../errors.ts'
import type { DomainEvent } from '../events/index.ts'
import type { EventTracer, SpanRequest } from '../observability/tracer.ts'
import { HandlerTimeoutError } from './errors.ts'
import type { HandlerEntry } from './handler-registry.ts'
import { HandlerRun, type RunInfo } from './handler-run.ts'

/** A handler that failed, and how. */
export interface HandlerFailure {
  readonly handler: HandlerEntry
  readonly error: Error
}

/** Who hears of each handler that ended. */
export interface DispatchObserver {
  handled(event: DomainEvent, handler: HandlerEntry): void
  failed(event: DomainEvent, failure: HandlerFailure, info: RunInfo): void
}

export interface DispatcherOptions {
  readonly tracer: EventTracer
  /** Milliseconds a handler may take; Infinity for no limit. */
  readonly handlerTimeoutMs: number
  readonly observer: DispatchObserver
}

export const NO_FAILURES: readonly HandlerFailure[] = Object.freeze([])

type Outcome = readonly HandlerFailure[]

/**
 * Runs the handlers of one event, all at once and each on its own: a failing one stops no other. Returns who
 * failed; a promise only where a handler is asynchronous, because an await per event would be most of the cost
 * of a synchronous one.
 */
export class Dispatcher {
  readonly #tracer: EventTracer
  readonly #handlerTimeoutMs: number
  readonly #observer: DispatchObserver

  constructor({ tracer, handlerTimeoutMs, observer }: DispatcherOptions) {
    this.#tracer = tracer
    this.#handlerTimeoutMs = handlerTimeoutMs
    this.#observer = observer
  }

  /** Never throws, never rejects: failures are values. */
  run(handlers: readonly HandlerEntry[], event: DomainEvent, info: RunInfo): Outcome | Promise<Outcome> {
    const [first] = handlers
    if (first !== undefined && handlers.length === 1) return this.#runOne(first, event, info)
    const outcomes = handlers.map((handler) => this.#runOne(handler, event, info))
    return isSettled(outcomes) ? joined(outcomes) : Promise.all(outcomes).then(joined)
  }

  #runOne(handler: HandlerEntry, event: DomainEvent, info: RunInfo): Outcome | Promise<Outcome> {
    try {
      // A handler that declines the event has nothing left to do with it.
      if (handler.accepts !== undefined && !handler.accepts(event)) return NO_FAILURES
      const context = new HandlerRun(info)
      const result = this.#tracer.inSpan(handlerSpan(handler, event), () => handler.invoke(event, context))
      if (!isThenable(result)) return this.#succeeded(handler, event)
      return this.#bounded(result, handler, context).then(
        () => this.#succeeded(handler, event),
        (thrown: unknown) => this.#failed(handler, event, info, thrown),
      )
    } catch (thrown) {
      return this.#failed(handler, event, info, thrown)
    }
  }

  #succeeded(handler: HandlerEntry, event: DomainEvent): Outcome {
    this.#observer.handled(event, handler)
    return NO_FAILURES
  }

  #failed(handler: HandlerEntry, event: DomainEvent, info: RunInfo, thrown: unknown): Outcome {
    const failure = { handler, error: toError(thrown) }
    this.#observer.failed(event, failure, info)
    return [failure]
  }

  #bounded(result: PromiseLike<unknown>, handler: HandlerEntry, run: HandlerRun): Promise<unknown> {
    const settled = Promise.resolve(result)
    return this.#handlerTimeoutMs === Number.POSITIVE_INFINITY ? settled : this.#race(settled, handler, run)
  }

  async #race(settled: Promise<unknown>, handler: HandlerEntry, run: HandlerRun): Promise<void> {
    const timeout = Promise.withResolvers<never>()
    const timer = setTimeout(() => {
      const error = new HandlerTimeoutError(handler.name, this.#handlerTimeoutMs)
      timeout.reject(error)
      run.abort(error)
    }, this.#handlerTimeoutMs)
    try {
      await Promise.race([settled, timeout.promise])
    } finally {
      clearTimeout(timer)
    }
  }
}

function isSettled(outcomes: readonly (Outcome | Promise<Outcome>)[]): outcomes is readonly Outcome[] {
  return outcomes.every((outcome) => !(outcome instanceof Promise))
}

function joined(outcomes: readonly Outcome[]): Outcome {
  return outcomes.every((failures) => failures === NO_FAILURES) ? NO_FAILURES : outcomes.flat()
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

function handlerSpan(handler: HandlerEntry, event: DomainEvent): SpanRequest {
  return {
    role: 'internal',
    name: () => `handle ${handler.name}`,
    attributes: () => ({
      'eventspine.handler.name': handler.name,
      'eventspine.event.type': event.eventType,
      'eventspine.event.id': event.eventId,
    }),
  }
}
