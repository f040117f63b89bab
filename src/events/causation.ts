import { AsyncLocalStorage } from 'node:async_hooks'
/** What an event takes from the event that caused it. */
export interface Cause {
  readonly eventId: string
  readonly correlationId: string
}

const handled = new AsyncLocalStorage<Cause>()

/** The event whose handler runs here, however deep in its asynchronous calls; undefined outside of handlers. */
export function currentCause(): Cause | undefined {
  return handled.getStore()
}

/** Runs what handles an event: events that are made or published within are caused by it. */
export function runCausedBy<A, R>(event: Cause, body: (argument: A) => R, argument: A): R {
  return handled.run(event, body, argument)
}

/**
 * What comes next in the code that runs within {@link runCausedBy} is caused by another event. Half the price of a
 * nested run, which makes a second frame to come back.
 */
export function causedFromHereBy(event: Cause): void {
  handled.enterWith(event)
}
