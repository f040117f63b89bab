import { EventspineError } from '../errors.ts'

/** A handler took longer than `handlerTimeoutMs`. Its signal was aborted, and the attempt counts as failed. */
export class HandlerTimeoutError extends EventspineError {
  readonly code = 'HANDLER_TIMEOUT'
  override readonly retryable = true

  constructor(handlerName: string, timeoutMs: number) {
    super(`The handler ${handlerName} did not settle within ${timeoutMs} ms (handlerTimeoutMs).`)
  }
}

/** The reason of a handler's aborted signal when a shutdown timed out. */
export class ShutdownError extends EventspineError {
  readonly code = 'SHUTDOWN'
  override readonly retryable = true

  constructor() {
    super('The bus is shutting down and its timeout has passed.')
  }
}
