import { EventspineError } from '../errors.ts'

/** Why a message could not be decoded. */
export type DecodeReason =
  | 'too_large'
  | 'invalid_utf8'
  | 'invalid_json'
  | 'too_deep'
  | 'too_many_values'
  | 'too_many_keys'
  | 'forbidden_key'
  | 'not_an_event'
  | 'type_mismatch'
  | 'schema'
  | 'newer_version'

/** An event of a newer version than its class. */
export interface NewerEvent {
  readonly eventType: string
  readonly eventVersion: number
}

/** The body of a message is not an event. The text of the error never contains the payload. */
export class DecodeError extends EventspineError {
  static override readonly name = 'DecodeError'
  readonly code = 'DECODE_FAILED'
  readonly reason: DecodeReason
  /** The event, if it is of a newer version than its class in this process; undefined otherwise. */
  readonly newer: NewerEvent | undefined

  constructor(
    reason: DecodeReason,
    message: string,
    { newer, ...options }: ErrorOptions & { readonly newer?: NewerEvent | undefined } = {},
  ) {
    super(message, options)
    this.reason = reason
    this.newer = newer
  }
}
