import { EventspineError, toError } from '../errors.ts'
import { ConnectionError } from '../transport/errors.ts'

/** No queue is bound for an event's routing key, and the bus was told to require one (`requireRoute`). */
export class UnroutableError extends EventspineError {
  readonly code = 'UNROUTABLE'
  readonly exchange: string
  readonly routingKey: string

  constructor(exchange: string, routingKey: string) {
    super(
      `No queue is bound to the exchange ${exchange} for the routing key ${routingKey}. ` +
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

/** Node's and OpenSSL's codes for certificates that are not accepted, and handshakes that are refused. */
const TLS_FAILURE = /CERT|^ERR_(TLS|SSL|OSSL)|^UNABLE_TO_(VERIFY|GET)|SELF_SIGNED|^HOSTNAME_MISMATCH/

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

/** A failure to connect, as the library's own error: with the address, never the password. */
export function connectError(address: string, thrown: unknown): ConnectionError {
  const error = toError(thrown)
  const text = textOf(error)
  if (TLS_FAILURE.test(String(codeOf(error)))) {
    return new ConnectionError(
      'AUTHENTICATION_FAILED',
      `The TLS connection to RabbitMQ at ${address} failed: ${text}. Check the certificates on both sides.`,
    )
  }
  // A server that knows `authentication_failure_close` says 403; one that refuses the virtual host closes the
  // connection in answer to connection.open.
  if (/ACCESS[-_]REFUSED/.test(text)) {
    return new ConnectionError(
      'AUTHENTICATION_FAILED',
      `RabbitMQ at ${address} refuses the credentials. Check the user name and the password.`,
    )
  }
  if (/Expected ConnectionOpenOk; got/.test(text)) {
    return new ConnectionError(
      'AUTHENTICATION_FAILED',
      `RabbitMQ at ${address} refuses the virtual host. Check that it exists and that the user may enter it.`,
    )
  }
  return new ConnectionError('CONNECTION_FAILED', `RabbitMQ at ${address} cannot be reached: ${text}.`)
}

/** A broken connection or channel, as the library's own error. */
export function lostError(address: string, thrown: unknown): ConnectionError {
  if (thrown instanceof ConnectionError) return thrown
  const text = thrown === undefined ? 'closed by the server' : textOf(toError(thrown))
  return new ConnectionError('CONNECTION_LOST', `The connection to RabbitMQ at ${address} was lost: ${text}.`)
}

/** The broker's answer to a command. What it refuses for good is no matter of waiting. */
export function commandError(address: string, thrown: unknown): ConnectionError {
  if (thrown instanceof ConnectionError) return thrown
  const error = toError(thrown)
  const text = textOf(error)
  switch (codeOf(error)) {
    case PRECONDITION_FAILED:
      // "inequivalent arg 'type' for exchange 'orders' in vhost '/': received 'topic' but current is 'direct'"
      return new ConnectionError(
        'TOPOLOGY_CONFLICT',
        `RabbitMQ at ${address} has it declared otherwise: ${text}. Use the same options, another name, or delete it there.`,
      )
    case RESOURCE_LOCKED:
      return new ConnectionError('TOPOLOGY_CONFLICT', `RabbitMQ at ${address} has it locked: ${text}.`)
    case ACCESS_REFUSED:
      return new ConnectionError(
        'AUTHENTICATION_FAILED',
        `RabbitMQ at ${address} does not permit this to the user: ${text}.`,
      )
    case NOT_FOUND:
      return new ConnectionError('CONNECTION_FAILED', `RabbitMQ at ${address}: ${text}.`, { cause: error })
    default:
      return lostError(address, error)
  }
}

/** The client's words without its prefixes, or the reason below an error without a text. */
function textOf(error: Error): string {
  const text = error.message === '' ? nestedText(error) : error.message
  return (
    /with message "(?<reply>.*)"$/s
      .exec(text)
      ?.groups?.['reply']?.replace(/[.\s]+$/, '')
      .slice(0, 1000) ?? text.replace(/[.\s]+$/, '')
  )
}

/** An attempt to reach several addresses fails with an AggregateError whose own message is empty. */
function nestedText(error: Error): string {
  if (error instanceof AggregateError) {
    return error.errors.map((inner) => toError(inner).message).join(', ')
  }
  return error.name
}
