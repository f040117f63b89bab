import { toError } from '../errors.ts'
import { ConnectionError } from '../transport/errors.ts'

const AUTHENTICATION =
  /^(WRONGPASS|NOAUTH|NOPERM)|invalid password|invalid username-password|without any password configured/i
/** Replies of a server that will do what was asked a little later, or of which another will. */
const PASSING = /^(LOADING|MASTERDOWN|READONLY|MISCONF|BUSY |TRYAGAIN|CLUSTERDOWN|UNBLOCKED)/
/** Errors of the client that say that a command never left the process. */
const UNSENT: readonly string[] = ['ClientOfflineError', 'ClientClosedError']

/** The server's own answer, as opposed to a failure of the connection. */
export function isErrorReply(error: Error): boolean {
  return /^[A-Z]{2,}\b/.test(error.message) && !error.message.startsWith('ECONN')
}

/** True when the command certainly had no effect. */
export function hadNoEffect(error: Error): boolean {
  return isErrorReply(error) || UNSENT.includes(error.constructor.name)
}

/** True when the same command may soon succeed, on this connection or a new one. */
export function isPassing(error: Error): boolean {
  return PASSING.test(error.message) || UNSENT.includes(error.constructor.name)
}

export function isNoGroup(error: unknown): boolean {
  return error instanceof Error && /^NOGROUP|no such key/i.test(error.message)
}

/** The connection is to a replica, so it has to be made anew to find the primary. */
export function isReadOnly(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('READONLY')
}

/**
 * A failure to connect as the library's own error, with the address and without the client's error object, which
 * may hold the arguments of AUTH.
 */
export function connectionError(address: string, thrown: unknown): ConnectionError {
  if (thrown instanceof ConnectionError) return thrown
  const text = messageOf(toError(thrown))
  if (AUTHENTICATION.test(text)) {
    return new ConnectionError(
      'AUTHENTICATION_FAILED',
      `Redis at ${address} refuses the credentials (${text}). Check the user name and the password.`,
    )
  }
  return new ConnectionError('CONNECTION_FAILED', `Redis at ${address} cannot be reached: ${text}.`)
}

/** A broken connection as the library's own error. */
export function lostError(address: string, thrown: unknown): ConnectionError {
  return new ConnectionError(
    'CONNECTION_LOST',
    `The connection to Redis at ${address} was lost: ${messageOf(toError(thrown))}.`,
  )
}

/** A reply of the server to a command of ours. */
export function commandError(address: string, command: string, thrown: unknown): Error {
  const error = toError(thrown)
  if (!isErrorReply(error)) return lostError(address, error)
  const text = messageOf(error)
  if (text.startsWith('WRONGTYPE')) {
    return new ConnectionError(
      'TOPOLOGY_CONFLICT',
      `${command} at Redis ${address}: a key of another type stands at the stream's name. Choose another streamPrefix or remove it.`,
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
  return new ConnectionError('CONNECTION_FAILED', `${command} at Redis ${address} was refused: ${text}`)
}

/** What to do where the server is a node of a cluster and refuses a command because of it. */
function clusterAdvice(text: string): string | undefined {
  if (text.startsWith('CROSSSLOT')) return 'Set useHashTag, so that all keys of the bus lie in one slot.'
  if (!/^(MOVED|ASK) /.test(text)) return undefined
  return 'RedisEventBus does not follow it from node to node: connect to a server that is no cluster.'
}

/** Several errors of the client have an empty message, for instance an AggregateError of two addresses tried. */
function messageOf(error: Error): string {
  if (error.message !== '') return error.message.replace(/[.\s]+$/, '')
  if (error instanceof AggregateError)
    return error.errors.map((inner) => messageOf(toError(inner))).join(', ')
  return error.constructor.name
}

/** The error of an operation that found the client disconnected. */
export function noConnection(address: string): ConnectionError {
  return new ConnectionError(
    'CONNECTION_LOST',
    `There is no connection to Redis at ${address} at the moment.`,
  )
}
