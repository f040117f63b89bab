import { EventspineError } from '../errors.ts'

/** A handler took longer than `handlerTimeoutMs`. Its signal was aborted, and the attempt counts as failed. */
export class HandlerTimeoutError extends EventspineError {
  readonly code = 'HANDLER_TIMEOUT'
  override readonly retryable = true

  constructor(handlerName: string, timeoutMs: number) {
    super(`The handler ${handlerName} did not settle within ${timeoutMs} ms (handlerTimeoutMs).`)
  }
}

/** The bus was shut down before this call. */
export class BusClosedError extends EventspineError {
  readonly code = 'BUS_CLOSED'

  constructor(operation: string) {
    super(`The bus is shut down, so it cannot ${operation}. Make a new bus instead.`)
  }
}

/** The reason of a handler's aborted signal when a shutdown ran out of time. */
export class ShutdownError extends EventspineError {
  readonly code = 'SHUTDOWN'
  override readonly retryable = true

  constructor() {
    super('The bus is shutting down and its timeout has passed.')
  }
}

/** What became of one event of a failed publish. */
export interface PublishOutcome {
  readonly eventId: string
  readonly eventType: string
  /**
   * `'stored'`: the broker confirmed it. `'notStored'`: it is certainly not on the broker; publish it again.
   * `'unknown'`: the answer was lost; published again it may be there twice, with the same event id.
   */
  readonly status: 'stored' | 'notStored' | 'unknown'
  readonly error: Error | undefined
}

/** Not every event of a publish was confirmed. `outcomes` says of each event what is known. */
export class PublishError extends EventspineError {
  readonly code = 'PUBLISH_FAILED'
  /** False when nothing of what failed can succeed unless somebody changes something. */
  override readonly retryable: boolean
  readonly #outcomes: readonly PublishOutcome[]
  /** The different errors behind it. */
  readonly errors: readonly Error[]

  constructor(system: string, outcomes: readonly PublishOutcome[]) {
    const count = (status: PublishOutcome['status']) =>
      outcomes.filter((outcome) => outcome.status === status).length
    const errors = [
      ...new Map(outcomes.flatMap(({ error }) => (error ? [[error.message, error]] : []))).values(),
    ]
    super(
      `Of ${outcomes.length} events published to ${system}, ${count('stored')} are stored, ${count('notStored')} are ` +
        `not, and ${count('unknown')} may be: ${errors.map(({ message }) => message).join('; ')}`,
      { cause: errors[0] },
    )
    this.#outcomes = outcomes
    this.errors = errors
    this.retryable = errors.some((error) => !(error instanceof EventspineError) || error.retryable)
  }

  /** One per event of the call, in its order. Not part of what is printed: there may be thousands. */
  get outcomes(): readonly PublishOutcome[] {
    return this.#outcomes
  }
}

/** The broker was not there in time for a publish. */
export class PublishTimeoutError extends EventspineError {
  readonly code = 'PUBLISH_TIMEOUT'
  override readonly retryable = true

  constructor(timeoutMs: number, detail: string) {
    super(`no confirmation within ${timeoutMs} ms (publishTimeoutMs): ${detail}`)
  }
}

/** The broker, or its protocol, cannot take this message: it is too large, or its names do not fit. */
export class MessageRefusedError extends EventspineError {
  readonly code = 'MESSAGE_REFUSED'

  constructor(reason: string) {
    super(`The message cannot be sent: ${reason}`)
  }
}

/** The broker cannot be reached, or refuses to talk. The text names the address, never the password. */
export class ConnectionError extends EventspineError {
  readonly code: 'CONNECTION_FAILED' | 'AUTHENTICATION_FAILED' | 'TOPOLOGY_CONFLICT' | 'CONNECTION_LOST'
  override readonly retryable: boolean

  /** @param code - all but `'CONNECTION_FAILED'` and `'CONNECTION_LOST'` need somebody to change something. */
  constructor(code: ConnectionError['code'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.retryable = code === 'CONNECTION_FAILED' || code === 'CONNECTION_LOST'
  }
}
