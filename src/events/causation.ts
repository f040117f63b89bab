import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks'

/** The ids that an event gets from the event that caused it. */
export interface Cause {
  readonly eventId: string
  readonly correlationId: string
  /** Type of the event, if it is known. */
  readonly eventType?: string | undefined
  /** Name of the handler that publishes, if it is known. */
  readonly handlerName?: string | undefined
}

/**
 * What the code of a handler can find out about its run, even in asynchronous calls and long after the handler ended. One
 * object, because each value that asynchronous code carries takes more time than most handlers.
 */
export interface HandlingFrame {
  /** The cause of the events that the code creates or publishes. */
  readonly cause: Cause | undefined
  /** The handlers that the code belongs to; see `RunningHandlers`. */
  readonly running: unknown
}

/** An event while it is handled, and the handler whose code runs. */
export class HandledEvent implements Cause, HandlingFrame {
  readonly #event: Cause
  readonly handlerName: string | undefined
  readonly running: unknown

  constructor(event: Cause, handlerName: string | undefined, running: unknown) {
    this.#event = event
    this.handlerName = handlerName
    this.running = running
  }

  get cause(): Cause {
    return this
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

const frames = new AsyncLocalStorage<HandlingFrame>()

/** Undefined outside of handlers. */
export function currentFrame(): HandlingFrame | undefined {
  return frames.getStore()
}

/** The event whose handler is running. Also set in asynchronous calls of the handler; undefined outside of handlers. */
export function currentCause(): Cause | undefined {
  return frames.getStore()?.cause
}

/**
 * The asynchronous context of the code that creates this object, in which handlers are run one after the other.
 * `AsyncLocalStorage.run` would copy the context twice for each of them: when they start, and when it restores the context of
 * its caller.
 */
export class CallerContext extends AsyncResource {
  constructor() {
    super('eventspine')
  }

  /** Runs `body` in this context, as code of a handler. */
  run<A, B, R>(frame: HandlingFrame, body: (one: A, other: B) => R, one: A, other: B): R {
    return this.runInAsyncScope<undefined, R>(runInFrame, undefined, frame, body, one, other)
  }
}

function runInFrame<A, B, R>(frame: HandlingFrame, body: (one: A, other: B) => R, one: A, other: B): R {
  frames.enterWith(frame)
  return body(one, other)
}

/** Runs `body` as code that has no single event as its cause. */
export function runWithoutCause<R>(body: () => R): R {
  return frames.run({ cause: undefined, running: currentFrame()?.running }, body)
}
