import { EventspineError, sentence } from '../errors.ts'

/** A publish got no confirmation before its deadline. */
export class PublishTimeoutError extends EventspineError {
  static override readonly name = 'PublishTimeoutError'
  readonly code = 'PUBLISH_TIMEOUT'
  override readonly retryable = true

  constructor(timeoutMs: number, detail: string) {
    super(`No confirmation within ${timeoutMs} ms (publishTimeoutMs): ${sentence(detail)}`)
  }
}

/** The broker or its protocol does not accept this message, for example because it is too large or a name in it is too long. */
export class MessageRefusedError extends EventspineError {
  static override readonly name = 'MessageRefusedError'
  readonly code = 'MESSAGE_REFUSED'
  override readonly retryable: boolean

  /** @param isTemporary - true if the broker may accept the same message later, for example when a queue has room again. */
  constructor(reason: string, isTemporary = false) {
    super(`The message cannot be sent: ${sentence(reason)}`)
    this.retryable = isTemporary
  }
}

/** The broker cannot be reached, or rejects the connection. The text names the address, never the password. */
export class ConnectionError extends EventspineError {
  static override readonly name = 'ConnectionError'
  readonly code: 'CONNECTION_FAILED' | 'AUTHENTICATION_FAILED' | 'TOPOLOGY_CONFLICT' | 'CONNECTION_LOST'
  override readonly retryable: boolean

  /**
   * @param code - errors with `'CONNECTION_FAILED'` or `'CONNECTION_LOST'` are retryable; the others persist until
   * something is changed.
   */
  constructor(code: ConnectionError['code'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.retryable = code === 'CONNECTION_FAILED' || code === 'CONNECTION_LOST'
  }
}

/** Past events cannot be read, because nothing keeps them. The text says how to change that. */
export class HistoryUnavailableError extends EventspineError {
  static override readonly name = 'HistoryUnavailableError'
  readonly code = 'HISTORY_UNAVAILABLE'
}
