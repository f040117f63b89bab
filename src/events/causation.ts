import { AsyncLocalStorage } from 'node:async_hooks'
import type { DomainEvent } from './domain-event.ts'

const handled = new AsyncLocalStorage<DomainEvent>()

/** The event whose handler runs here, however deep in its asynchronous calls; undefined outside of handlers. */
export function currentCause(): DomainEvent | undefined {
  return handled.getStore()
}

/** Runs what handles an event: events that are made or published within are caused by it. */
export function runCausedBy<A, R>(event: DomainEvent, body: (argument: A) => R, argument: A): R {
  return handled.run(event, body, argument)
}

/**
 * What comes next in the code that runs within {@link runCausedBy} is caused by another event. Half the price of a
 * nested run, which makes a second frame to come back.
 */
export function causedFromHereBy(event: DomainEvent): void {
  handled.enterWith(event)
}
