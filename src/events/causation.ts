import { AsyncLocalStorage } from 'node:async_hooks'
/** The ids that an event takes from the event that caused it. */
export interface Cause {
  readonly eventId: string
  readonly correlationId: string
}

const handled = new AsyncLocalStorage<Cause | undefined>()

/** The event whose handler is running, also within its asynchronous calls; undefined outside of handlers. */
export function currentCause(): Cause | undefined {
  return handled.getStore()
}

/**
 * Runs the handling of an event, which becomes the cause of events that are created or published within; undefined for code
 * that no single event causes.
 */
export function runCausedBy<A, R>(event: Cause | undefined, body: (argument: A) => R, argument: A): R {
  return handled.run(event, body, argument)
}

/**
 * Replaces the cause for the rest of the code that runs within {@link runCausedBy}. Costs half of a nested run, which would
 * also restore the previous cause.
 */
export function causedFromHereBy(event: Cause): void {
  handled.enterWith(event)
}
