import { EventspineError, toError } from '../errors.ts'
import { quote } from '../redaction.ts'
import { ConnectionError } from '../transport/errors.ts'

/** No queue is bound for an event's routing key, and `requireRoute` is set. */
export class UnroutableError extends EventspineError {
  static override readonly name = 'UnroutableError'
  readonly code = 'UNROUTABLE'
  readonly exchange: string
  readonly routingKey: string

  constructor(exchange: string, routingKey: string) {
    super(
      // The default exchange, which has no name, passes a message to the queue that its routing key names.
      exchange === ''
        ? `There is no queue ${routingKey}. Start a consumer that declares it first.`
        : `No queue is bound to the exchange ${exchange} for the routing key ${routingKey}. ` +
            'Start a consumer that binds it first, or publish without requireRoute.',
    )
    this.exchange = exchange
    this.routingKey = routingKey
  }
}

/** AMQP reply codes, https://www.rabbitmq.com/amqp-0-9-1-reference.html#constants */
const NOT_FOUND = 404
const ACCESS_REFUSED = 403
const RESOURCE_LOCKED = 405
const PRECONDITION_FAILED = 406

/** Node's and OpenSSL's codes for refused certificates and handshakes. */
const TLS_FAILURE = /CERT|^ERR_(TLS|SSL|OSSL)|^UNABLE_TO_(VERIFY|GET)|SELF_SIGNED|^HOSTNAME_MISMATCH/

/** The reply with which the broker refused a command; undefined for another failure. */
export function refusalOf(thrown: unknown): { readonly code: number; readonly text: string } | undefined {
  const error = toError(thrown)
  const code = codeOf(error)
  return typeof code === 'number' ? { code, text: textOf(error) } : undefined
}

function codeOf(error: Error): unknown {
  return 'code' in error ? error.code : undefined
}

/** Resolves to undefined if the broker answers that the exchange or queue does not exist. */
export async function undefinedIfNotFound<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer
  } catch (error) {
    if (isNotFound(error)) return undefined
    throw error
  }
}

function isNotFound(thrown: unknown): boolean {
  return thrown instanceof Error && (codeOf(thrown) === NOT_FOUND || isNotFound(thrown.cause))
}

/** The broker refused a command because another connection has an exclusive queue of that name. */
export function isLocked(thrown: unknown): boolean {
  return thrown instanceof Error && codeOf(thrown) === RESOURCE_LOCKED
}

/** The broker refused a command because the user lacks the right. */
export function isForbidden(thrown: unknown): boolean {
  return thrown instanceof Error && codeOf(thrown) === ACCESS_REFUSED
}

/** Converts a failure to connect. The message names the address, never the password. */
export function connectError(address: string, thrown: unknown): ConnectionError {
  if (thrown instanceof ConnectionError) return thrown
  const error = toError(thrown)
  const text = textOf(error)
  if (TLS_FAILURE.test(String(codeOf(error)))) {
    return new ConnectionError(
      'AUTHENTICATION_FAILED',
      `The TLS connection to RabbitMQ at ${address} failed: ${text}. Check the certificates on both sides.`,
    )
  }
  // With the capability `authentication_failure_close`, the broker answers refused credentials with 403. It refuses a
  // virtual host by closing the connection in reply to connection.open.
  if (/ACCESS[-_]REFUSED/.test(text)) {
    return new ConnectionError(
      'AUTHENTICATION_FAILED',
      `RabbitMQ at ${address} refuses the credentials. Check the user name and the password.`,
    )
  }
  if (/Expected ConnectionOpenOk; got/.test(text)) {
    return new ConnectionError(
      'AUTHENTICATION_FAILED',
      `RabbitMQ at ${address} refuses the virtual host. Check that it exists and that the user has access to it.`,
    )
  }
  return new ConnectionError('CONNECTION_FAILED', `RabbitMQ at ${address} cannot be reached: ${text}.`)
}

/** Converts the cause of a lost connection or channel. */
export function lostError(address: string, thrown: unknown): ConnectionError {
  if (thrown instanceof ConnectionError) return thrown
  const text = thrown === undefined ? 'closed by the server' : textOf(toError(thrown))
  return new ConnectionError('CONNECTION_LOST', `The connection to RabbitMQ at ${address} was lost: ${text}.`)
}

/** Closes the connection (`COMMAND_INVALID`) before RabbitMQ 4, and the channel (`PRECONDITION_FAILED`) from then on. */
const UNKNOWN_HASH_TYPE = /(unknown|invalid) exchange type .?x-consistent-hash/

function noPartitionPlugin(address: string): ConnectionError {
  return new ConnectionError(
    'TOPOLOGY_CONFLICT',
    `RabbitMQ at ${address} cannot partition a group, because its plugin rabbitmq_consistent_hash_exchange is ` +
      "disabled: enable it on each node, or use ordering: 'aggregate' without partitions.",
  )
}

/** Converts the failure of a command. A refusal that does not go away on its own gets a code that is not retryable. */
export function commandError(address: string, thrown: unknown): ConnectionError {
  if (thrown instanceof ConnectionError) return thrown
  const error = toError(thrown)
  const text = textOf(error)
  if (UNKNOWN_HASH_TYPE.test(text)) return noPartitionPlugin(address)
  switch (codeOf(error)) {
    case PRECONDITION_FAILED:
      // "inequivalent arg 'type' for exchange 'orders' in vhost '/': received 'topic' but current is 'direct'"
      return new ConnectionError(
        'TOPOLOGY_CONFLICT',
        `RabbitMQ at ${address} has an exchange or queue of this name with other arguments: ${text}. ` +
          'Use the same options or another name, or delete it on the broker.',
      )
    case RESOURCE_LOCKED:
      return new ConnectionError(
        'TOPOLOGY_CONFLICT',
        `RabbitMQ at ${address} has an exclusive queue of this name, which another connection owns: ${text}.`,
      )
    case ACCESS_REFUSED:
      return new ConnectionError(
        'AUTHENTICATION_FAILED',
        `RabbitMQ at ${address} does not permit this user to do that: ${text}.`,
      )
    case NOT_FOUND:
      return new ConnectionError('CONNECTION_FAILED', `RabbitMQ at ${address}: ${text}.`, { cause: error })
    default:
      return lostError(address, error)
  }
}

/** The broker's reply text if the error has one, else the text of the error or of those that it holds. */
function textOf(error: Error): string {
  const text = error.message === '' ? nestedText(error) : error.message
  const start = text.indexOf(REPLY)
  return quote(start < 0 || !text.endsWith('"') ? text : text.slice(start + REPLY.length, -1))
}

/** The text that the client writes before the broker's reply text. A quote follows. */
const REPLY = 'with message "'

/** Node fails to reach any of a host's addresses with an AggregateError, whose own message is empty. */
function nestedText(error: Error): string {
  if (error instanceof AggregateError) {
    return error.errors
      .slice(0, 10)
      .map((inner) => quote(toError(inner).message))
      .join(', ')
  }
  return error.name
}
