import { toError } from '../errors.ts'
import { quote } from '../redaction.ts'
import { ConnectionError } from '../transport/errors.ts'

const AUTHENTICATION =
  /^(WRONGPASS|NOAUTH|NOPERM)|invalid password|invalid username-password|without any password configured/i
/** Error replies after which the same command may soon succeed, on this server or on its successor. */
const TRANSIENT = /^(LOADING|MASTERDOWN|READONLY|MISCONF|BUSY |TRYAGAIN|CLUSTERDOWN|MOVED|ASK |UNBLOCKED)/
/** Texts of the client's errors for commands that it did not send. Unlike the names of its classes, no minifier changes them. */
const UNSENT: readonly string[] = ['The client is offline', 'The client is closed']

/** True for an error that the server replied, as opposed to a failed connection. */
export function isErrorReply(error: Error): boolean {
  return /^[A-Z]{2,}\b/.test(error.message) && !error.message.startsWith('ECONN')
}

/** True if the command certainly had no effect. */
export function hadNoEffect(error: Error): boolean {
  return isErrorReply(error) || UNSENT.includes(error.message)
}

/** True if the same command may soon succeed, on this connection or a new one. */
export function isTransient(error: Error): boolean {
  return TRANSIENT.test(error.message) || UNSENT.includes(error.message)
}

/** True if the user may not run the command, or may not use one of its keys; also within a script. */
export function isForbidden(error: Error): boolean {
  // In scripts: "The user executing the script can't run this command" until 7.0, "ACL failure in script" since 7.2.
  return /^NOPERM|\bACL failure in script|The user executing the script can't/.test(error.message)
}

/** True if the stream or its consumer group does not exist. */
export function isNoGroup(error: unknown): boolean {
  return error instanceof Error && /^NOGROUP|no such key/i.test(error.message)
}

/** True if another node of the cluster has the key by now. */
export function isRedirection(error: unknown): boolean {
  return error instanceof Error && /^(MOVED|ASK) /.test(error.message)
}

/** True if the connection leads to a replica. A new connection may lead to the primary. */
export function isReadOnly(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('READONLY')
}

/**
 * The error for a failed attempt to connect. It has the address, but not the client's error object, which may hold the
 * arguments of AUTH.
 */
export function connectionError(address: string, thrown: unknown): ConnectionError {
  if (thrown instanceof ConnectionError) return thrown
  const text = messageOf(toError(thrown))
  if (AUTHENTICATION.test(text)) {
    return new ConnectionError(
      'AUTHENTICATION_FAILED',
      `Redis at ${address} refuses the credentials (${text}). Check user name and password.`,
    )
  }
  return new ConnectionError('CONNECTION_FAILED', `Redis at ${address} cannot be reached: ${text}.`)
}

/** The error for a connection that was lost. */
export function lostError(address: string, thrown: unknown): ConnectionError {
  return new ConnectionError(
    'CONNECTION_LOST',
    `The connection to Redis at ${address} was lost: ${messageOf(toError(thrown))}.`,
  )
}

/** The error for a command that failed. */
export function commandError(address: string, command: string, thrown: unknown): Error {
  const error = toError(thrown)
  if (!isErrorReply(error)) return lostError(address, error)
  const text = messageOf(error)
  if (text.startsWith('WRONGTYPE')) {
    return new ConnectionError(
      'TOPOLOGY_CONFLICT',
      `Redis at ${address} refused ${command}: the key is not a stream. Choose another streamPrefix or delete the key.`,
    )
  }
  if (AUTHENTICATION.test(text)) return connectionError(address, thrown)
  const advice = clusterAdvice(text)
  if (advice !== undefined) {
    return new ConnectionError(
      'TOPOLOGY_CONFLICT',
      `Redis at ${address} is a Redis Cluster (${text}). ${advice}`,
    )
  }
  return new ConnectionError('CONNECTION_FAILED', `Redis at ${address} refused ${command}: ${text}.`)
}

/** The remedy if the server refuses a command because it is a node of a cluster. */
function clusterAdvice(text: string): string | undefined {
  if (text.startsWith('CROSSSLOT')) return 'Set useHashTag, so that all keys of the bus are in one slot.'
  return undefined
}

/** The error's text. Some errors of the client have none, such as the AggregateError of two addresses that failed. */
function messageOf(error: Error): string {
  if (error.message !== '') return quote(error.message)
  if (error instanceof AggregateError)
    return error.errors
      .slice(0, 10)
      .map((inner) => messageOf(toError(inner)))
      .join(', ')
  return error.constructor.name
}

/** The error for an operation while the bus is not connected. */
export function noConnection(address: string): ConnectionError {
  return new ConnectionError('CONNECTION_LOST', `The bus is not connected to Redis at ${address}.`)
}
