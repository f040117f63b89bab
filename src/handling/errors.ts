import { EventspineError } from '../errors.ts'

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
