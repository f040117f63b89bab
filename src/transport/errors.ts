import { EventspineError } from '../errors.ts'

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
