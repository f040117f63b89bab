import { AsyncLocalStorage } from 'node:async_hooks'

/** The ids that an event gets from the event that caused it. */
export interface Cause {
  readonly eventId: string
  readonly correlationId: string
  /** Type of the event, if it is known. */
  readonly eventType?: string | undefined
  /** Name of the handler that publishes, if it is known. */
  readonly handlerName?: string | undefined
}

/** An event while it is handled, and the handler whose code runs. */
export class HandledEvent implements Cause {
  readonly #event: Cause
  handlerName: string | undefined

  constructor(event: Cause, handlerName?: string) {
    this.#event = event
    this.handlerName = handlerName
  }

  get eventId(): string {
    return this.#event.eventId
  }

  get correlationId(): string {
    return this.#event.correlationId
  }

  get eventType(): string | undefined {
    return this.#event.eventType
  }
}

const handled = new AsyncLocalStorage<Cause | undefined>()

/** The event whose handler is running. Also set in asynchronous calls of the handler; undefined outside of handlers. */
export function currentCause(): Cause | undefined {
  return handled.getStore()
}

/**
 * Runs `body` with an event as the cause of all events that `body` creates or publishes. Pass undefined for code that
 * has no single event as its cause.
 */
export function runCausedBy<A, R>(event: Cause | undefined, body: (argument: A) => R, argument: A): R {
  return handled.run(event, body, argument)
}

/**
 * Replaces the cause for the rest of the code inside {@link runCausedBy}. This costs half as much as a nested
 * `runCausedBy`, because it does not restore the previous cause.
 */
export function causedFromHereBy(event: Cause): void {
  handled.enterWith(event)
}
