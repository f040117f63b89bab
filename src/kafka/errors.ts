import { sentence, toError } from '../errors.ts'
import { quote } from '../redaction.ts'
import { ConnectionError, MessageRefusedError } from '../transport/errors.ts'
import { meaningOf } from './error-codes.ts'

/** Error codes of the protocol that the bus acts on. */
export const CODE = {
  UNKNOWN_SERVER_ERROR: -1,
  NONE: 0,
  OFFSET_OUT_OF_RANGE: 1,
  CORRUPT_MESSAGE: 2,
  UNKNOWN_TOPIC_OR_PARTITION: 3,
  LEADER_NOT_AVAILABLE: 5,
  NOT_LEADER_OR_FOLLOWER: 6,
  REQUEST_TIMED_OUT: 7,
  MESSAGE_TOO_LARGE: 10,
  OFFSET_METADATA_TOO_LARGE: 12,
  NETWORK_EXCEPTION: 13,
  COORDINATOR_LOAD_IN_PROGRESS: 14,
  COORDINATOR_NOT_AVAILABLE: 15,
  NOT_COORDINATOR: 16,
  RECORD_LIST_TOO_LARGE: 18,
  NOT_ENOUGH_REPLICAS: 19,
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: 20,
  ILLEGAL_GENERATION: 22,
  INCONSISTENT_GROUP_PROTOCOL: 23,
  UNKNOWN_MEMBER_ID: 25,
  INVALID_GROUP_ID: 24,
  INVALID_SESSION_TIMEOUT: 26,
  REBALANCE_IN_PROGRESS: 27,
  TOPIC_AUTHORIZATION_FAILED: 29,
  GROUP_AUTHORIZATION_FAILED: 30,
  CLUSTER_AUTHORIZATION_FAILED: 31,
  INVALID_TIMESTAMP: 32,
  UNSUPPORTED_VERSION: 35,
  TOPIC_ALREADY_EXISTS: 36,
  INVALID_PARTITIONS: 37,
  INVALID_REPLICATION_FACTOR: 38,
  POLICY_VIOLATION: 44,
  OUT_OF_ORDER_SEQUENCE_NUMBER: 45,
  DUPLICATE_SEQUENCE_NUMBER: 46,
  INVALID_PRODUCER_EPOCH: 47,
  KAFKA_STORAGE_ERROR: 56,
  UNKNOWN_PRODUCER_ID: 59,
  NON_EMPTY_GROUP: 68,
  GROUP_ID_NOT_FOUND: 69,
  FENCED_LEADER_EPOCH: 74,
  UNKNOWN_LEADER_EPOCH: 75,
  OFFSET_NOT_AVAILABLE: 78,
  MEMBER_ID_REQUIRED: 79,
  FENCED_INSTANCE_ID: 82,
  GROUP_SUBSCRIBED_TO_TOPIC: 86,
  INVALID_RECORD: 87,
  UNKNOWN_TOPIC_ID: 100,
  FENCED_MEMBER_EPOCH: 110,
  UNRELEASED_INSTANCE_ID: 111,
  UNSUPPORTED_ASSIGNOR: 112,
  STALE_MEMBER_EPOCH: 113,
} as const

/** The leader has moved or does not exist yet, so the same request may succeed elsewhere or later. */
const PASSING: ReadonlySet<number> = new Set([
  CODE.UNKNOWN_TOPIC_OR_PARTITION,
  CODE.LEADER_NOT_AVAILABLE,
  CODE.NOT_LEADER_OR_FOLLOWER,
  CODE.COORDINATOR_LOAD_IN_PROGRESS,
  CODE.COORDINATOR_NOT_AVAILABLE,
  CODE.NOT_COORDINATOR,
  CODE.NOT_ENOUGH_REPLICAS,
  CODE.KAFKA_STORAGE_ERROR,
  CODE.FENCED_LEADER_EPOCH,
  CODE.UNKNOWN_LEADER_EPOCH,
  CODE.OFFSET_NOT_AVAILABLE,
  CODE.UNKNOWN_TOPIC_ID,
])

const UNAUTHORIZED: ReadonlySet<number> = new Set([
  CODE.TOPIC_AUTHORIZATION_FAILED,
  CODE.GROUP_AUTHORIZATION_FAILED,
  CODE.CLUSTER_AUTHORIZATION_FAILED,
])

/** How to fix a refusal by changing an option. */
const HINTS: ReadonlyMap<number, string> = new Map([
  [
    CODE.INCONSISTENT_GROUP_PROTOCOL,
    'All members of a group must have the same partitionAssignor and groupProtocol. This member joins when no other member is left.',
  ],
  [CODE.INVALID_GROUP_ID, 'Choose another consumerGroup.'],
  [
    CODE.INVALID_SESSION_TIMEOUT,
    "sessionTimeoutMs must be between the brokers' group.min.session.timeout.ms and group.max.session.timeout.ms.",
  ],
  [CODE.UNSUPPORTED_VERSION, "With groupProtocol 'consumer', use 'classic' instead."],
  [CODE.INVALID_PARTITIONS, 'Check topicPartitions.'],
  [CODE.INVALID_REPLICATION_FACTOR, 'Check replicationFactor.'],
])

/** The protocol's name of an error code. */
export function nameOf(code: number): string {
  return meaningOf(code).name
}

/** True if the same request may soon succeed, perhaps at another broker. */
export function isPassing(code: number): boolean {
  return PASSING.has(code)
}

/** False for an error that no retry can fix, such as refused credentials. */
export function isRetryable(error: Error): boolean {
  return !('retryable' in error && error.retryable === false)
}

/**
 * The error for a request that a broker refused. It is retryable if waiting helps.
 *
 * @param action - the start of the message, such as "Reading topic a".
 * @param detail - the message of the broker, if the answer has one.
 */
export function refusal(
  address: string,
  action: string,
  code: number,
  detail?: string | null,
): ConnectionError {
  const text = sentence(`${action} was refused by Kafka at ${address}: ${explain(code, detail)}`)
  const hint = HINTS.get(code)
  const message = hint === undefined ? text : `${text} ${hint}`
  if (UNAUTHORIZED.has(code)) return new ConnectionError('AUTHENTICATION_FAILED', message)
  return new ConnectionError(meaningOf(code).isTemporary ? 'CONNECTION_FAILED' : 'TOPOLOGY_CONFLICT', message)
}

/** The error for a message that a broker refused because of what it contains. */
export function messageRefusal(address: string, code: number, detail?: string | null): MessageRefusedError {
  return new MessageRefusedError(`Kafka at ${address} refused the event: ${explain(code, detail)}`)
}

/** Name and meaning of a code, and the broker's own message. */
function explain(code: number, detail: string | null = null): string {
  const { name, text } = meaningOf(code)
  return detail === null || detail === ''
    ? `${name}, ${text}`
    : `${name}, ${text} (${detail.replace(/\.$/, '')})`
}

/** Converts the error of a broken connection. */
export function lostError(address: string, thrown: unknown): ConnectionError {
  if (thrown instanceof ConnectionError) return thrown
  return new ConnectionError(
    'CONNECTION_LOST',
    `The connection to Kafka at ${address} was lost: ${describe(toError(thrown))}.`,
  )
}

/** Explanations of a failed handshake, by the text of the client or OpenSSL. The first match counts. */
const REFUSALS: readonly (readonly [pattern: RegExp, meaning: string])[] = [
  [
    /requires TLS|wrong version number|packet length too long/i,
    'and this bus do not agree on TLS. Check securityProtocol and the port',
  ],
  [
    /ERR_TLS_CERT_ALTNAME|does not match certificate/i,
    'has a certificate for another host name. Connect by a name in it, or set sslCheckHostname to false',
  ],
  [
    /alert (bad |no |unsupported |unknown )?(certificate|ca)|certificate[ _]required|handshake failure/i,
    'does not accept the certificate of this bus, or requires one. Check sslCertfile and sslKeyfile',
  ],
  [
    /self.signed|unable to (verify|get (local )?issuer)|certificate (has expired|is not yet valid)|CERT_|UNABLE_TO_/i,
    'has a certificate that is not trusted. Check sslCafile',
  ],
  [/current SASL state/, 'does not ask for a user name at this port. Check securityProtocol and the port'],
  [/SASL mechanism/i, 'does not support this saslMechanism'],
  [
    /SASL|PLT_KFK_AUTHENTICATION/,
    'refuses the credentials. Check saslMechanism, saslUsername and saslPassword',
  ],
]

/** A connection that broke during the handshake. It is not a refusal. */
const BROKEN = /connection closed|ECONNRESET|EPIPE|ECONNREFUSED|timed out|socket hang up/i

/**
 * Converts an error of connecting. The result names the address, and does not contain the client's error object, which
 * may hold credentials.
 */
export function connectionError(address: string, thrown: unknown): ConnectionError {
  if (thrown instanceof ConnectionError) return thrown
  const error = toError(thrown)
  const text = describe(error)
  const texts = chainOf(error).map((link) => `${link.message} ${codeOf(link)}`)
  const isBroken = BROKEN.test(text)
  const meaning = REFUSALS.find(([pattern]) => !isBroken && texts.some((link) => pattern.test(link)))?.[1]
  if (meaning !== undefined) return handshakeRefused(address, meaning, text)
  return new ConnectionError('CONNECTION_FAILED', `Kafka at ${address} cannot be reached: ${text}.`)
}

/** @param meaning - completes "Kafka at ..." */
export function handshakeRefused(address: string, meaning: string, detail: string): ConnectionError {
  return new ConnectionError('AUTHENTICATION_FAILED', `Kafka at ${address} ${meaning} (${detail}).`)
}

/** The innermost messages, which are the most specific. */
function describe(error: Error): string {
  const innermost = chainOf(error).filter(
    (link) => !(link instanceof AggregateError) && link.cause === undefined,
  )
  const texts = new Set((innermost.length > 0 ? innermost : [error]).map(({ message }) => plainText(message)))
  return [...texts]
    .filter((text) => text !== '')
    .slice(0, 10)
    .map(quote)
    .join(', ')
}

/** Extracts an alert from OpenSSL's message, which surrounds it with numbers and file names. */
function plainText(message: string): string {
  return /:(?:ssl\/tls )?(alert [a-z ]+):/.exec(message)?.[1] ?? message
}

/** The error, its causes, and the errors that it aggregates. */
function chainOf(error: Error, depth = 0): readonly Error[] {
  if (depth > 5) return [error]
  const inner: readonly unknown[] = [
    ...(error.cause === undefined ? [] : [error.cause]),
    ...(error instanceof AggregateError ? error.errors : []),
  ]
  return [error, ...inner.flatMap((link) => (link instanceof Error ? chainOf(link, depth + 1) : []))]
}

function codeOf(error: Error): string {
  const code: unknown = 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : ''
}

/** There is no connection now. */
export function noConnection(address: string): ConnectionError {
  return new ConnectionError('CONNECTION_LOST', `There is no connection to Kafka at ${address}.`)
}
