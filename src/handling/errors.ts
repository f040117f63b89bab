import { describeValue, EventspineError } from '../errors.ts'
import { delayMs as delayRule } from '../kit/options.ts'

/** A handler took longer than `handlerTimeoutMs`. Its signal was aborted, and the attempt counts as failed. */
export class HandlerTimeoutError extends EventspineError {
  static override readonly name = 'HandlerTimeoutError'
  readonly code = 'HANDLER_TIMEOUT'
  override readonly retryable = true

  constructor(handlerName: string, timeoutMs: number) {
    super(`The handler ${handlerName} did not settle within ${timeoutMs} ms (handlerTimeoutMs).`)
  }
}

/** Two handlers of one event on a broker bus, or in a subscription, have the same name. */
export class HandlerNameError extends EventspineError {
  static override readonly name = 'HandlerNameError'
  readonly code = 'HANDLER_NAME_TAKEN'

  constructor(eventType: string, name: string) {
    super(
      `Two handlers of ${eventType} have the name "${name}". Retries after a restart and replays find a handler by its ` +
        'name: give each handler of an event a different name.',
    )
  }
}

/** A handler called a method that waits for that handler. The call had no effect. */
export class HandlerDeadlockError extends EventspineError {
  static override readonly name = 'HandlerDeadlockError'
  readonly code = 'HANDLER_DEADLOCK'

  constructor(call: string) {
    super(
      `A handler called ${call}, which would wait for that handler forever. Call it outside of the handler, or ` +
        'after the handler has returned.',
    )
  }
}

/** The reason of a handler's aborted signal when a shutdown timed out. */
export class ShutdownError extends EventspineError {
  static override readonly name = 'ShutdownError'
  readonly code = 'SHUTDOWN'
  override readonly retryable = true

  constructor() {
    super('The bus is shutting down and its timeout has passed.')
  }
}

/** Too many events of the aggregate wait behind another one for a handler. The event becomes a dead letter for that handler. */
export class WaitingLineFullError extends EventspineError {
  static override readonly name = 'WaitingLineFullError'
  readonly code = 'WAITING_LINE_FULL'

  constructor(handlerName: string, limit: number) {
    super(
      `For the handler ${handlerName}, ${limit} events of the aggregate wait behind another one (maxBehind). Replay or purge ` +
        'the dead letter that they wait for, then replay this one.',
    )
  }
}

/** Throw it if no retry can help. The event is given up after this attempt, with the reason `rejected`. */
export class NonRetryableError extends EventspineError {
  static override readonly name = 'NonRetryableError'
  readonly code = 'NON_RETRYABLE'
}

/** Throw it to choose the delay before the next attempt. The attempt counts as failed. */
export class RetryAfterError extends EventspineError {
  static override readonly name = 'RetryAfterError'
  readonly code = 'RETRY_AFTER'
  override readonly retryable = true
  readonly delayMs: number

  /** @param delayMs - in milliseconds, without jitter. */
  constructor(
    delayMs: number,
    message = `The handler asks for a retry after ${delayMs} ms.`,
    options?: ErrorOptions,
  ) {
    super(message, options)
    if (!delayRule.isValid(delayMs)) {
      throw new TypeError(`RetryAfterError takes ${delayRule.rule}, got ${describeValue(delayMs)}.`)
    }
    this.delayMs = delayMs
  }
}

/** Throw it if the handler will never need the event. The event is logged, counted and acknowledged for this handler. */
export class DiscardError extends EventspineError {
  static override readonly name = 'DiscardError'
  readonly code = 'EVENT_DISCARDED'
}
