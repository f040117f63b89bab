import type { DomainEvent } from '../events/index.ts'
import { type Around, runThrough } from '../kit/middleware.ts'
import type { HandlerContext } from './event-handler.ts'
import type { HandlerRun } from './handler-run.ts'

/** What a middleware around a handler receives: the context of the handler, with the event and the handler's name. */
export interface HandlingContext extends HandlerContext {
  readonly event: DomainEvent
  readonly handlerName: string
}

/**
 * Runs around each run of each handler, so also around each retry. `next` runs the handler and rejects if it fails. What the
 * middleware throws, or `next` rejects with, fails the attempt.
 */
export type HandlingMiddleware = (context: HandlingContext, next: () => Promise<void>) => unknown

/** The middleware of a bus around its handlers. */
export class HandlingMiddlewares {
  /** Calls the handler. @returns its promise, as a native one; undefined if the result is not a promise. */
  invoke: (run: HandlerRun) => Promise<unknown> | undefined = invokeHandler
  #list: readonly Around<HandlingContext, HandlerRun>[] = []

  /** Adds a middleware within those that were added before. Takes effect with the next run of a handler. */
  add(middleware: HandlingMiddleware): void {
    const list: readonly Around<HandlingContext, HandlerRun>[] = [...this.#list, around(middleware)]
    this.#list = list
    this.invoke = (run) => runThrough(list, contextOf, handled, run)
  }
}

/** For handlers without middleware. */
export const NO_MIDDLEWARE = new HandlingMiddlewares()

function around(middleware: HandlingMiddleware): Around<HandlingContext, HandlerRun> {
  return (context, next) => middleware(context, () => next())
}

function contextOf(run: HandlerRun): HandlingContext {
  return run
}

async function handled(run: HandlerRun): Promise<void> {
  await invokeHandler(run)
}

function invokeHandler(run: HandlerRun): Promise<unknown> | undefined {
  const result = run.handler.invoke(run.event, run)
  if (result instanceof Promise) return result
  return isThenable(result) ? Promise.resolve(result) : undefined
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}
