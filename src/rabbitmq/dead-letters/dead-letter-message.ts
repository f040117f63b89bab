import { createHash, randomUUID } from 'node:crypto'
import {
  type ReplayHistory,
  readReason,
  readReplays,
  writeImported,
  writeReason,
  writeReplay,
} from '../../transport/dead-letter-fields.ts'
import type { ReplayDestination } from '../../transport/replay-destination.ts'
import { REPLAY_HANDLERS, readPlaces, replayHeader } from '../../transport/replay-headers.ts'
import type {
  DeadLetterReason,
  IncomingMessage,
  OutgoingMessage,
  StoredDeadLetter,
} from '../../transport/transport.ts'
import type { AmqpMessage, AmqpProperties, AmqpTable } from '../client/client.ts'
import type { RabbitMQNames } from '../client/names.ts'
import { type AmqpOutgoing, textHeaders, toAmqp } from '../wire/message.ts'
import { writableProperties, writableTable } from '../wire/writable-properties.ts'

type MessageHeaders = IncomingMessage['headers']

const REPLAY_COUNT = 'x-dlq-replay-count'
/** The header with which eventsource-py marks a replay. */
const REPLAYED_AT = 'x-replayed-from-dlq'

/**
 * The header of each field that all transports write. It is the header of eventsource-py if there is one. In
 * eventsource-py, `x-dlq-reason` is the text of the error.
 */
const HEADER_OF: Readonly<Record<string, string>> = {
  dlq_reason: 'x-dlq-kind',
  dlq_error_type: 'x-dlq-error-type',
  dlq_error_message: 'x-dlq-reason',
  dlq_error_stack: 'x-dlq-error-stack',
  dlq_retry_count: 'x-dlq-retry-count',
  dlq_timestamp: 'x-dlq-timestamp',
  dlq_consumer_group: 'x-dlq-consumer-group',
  dlq_handlers: 'x-dlq-handlers',
  dlq_settled_handlers: 'x-dlq-settled-handlers',
  dlq_attempts: 'x-dlq-attempts',
  dlq_parked_for: 'x-dlq-parked-for',
  dlq_first_failed_at: 'x-dlq-first-failed-at',
  dlq_replay_count: REPLAY_COUNT,
  dlq_replayed_at: REPLAYED_AT,
}

/** The places behind which later messages wait, as a JSON object by the names of the handlers. */
const PLACES = 'x-dlq-places'
/** Distinguishes dead letters of messages with the same id. */
const LETTER_TAG = 'x-dlq-id'
const ORIGINAL_ROUTING_KEY = 'x-original-routing-key'
/** Headers that the broker, a dead-lettering or a wait adds to a message. They are not part of the original. */
const ADDED =
  /^x-(dlq-|line-|death$|first-death-|last-death-|original-routing-key$|delivery-count$|acquired-count$)/
/**
 * Headers by which the broker routes a message further: to other queues (`CC` and `BCC`, sender-selected distribution), or
 * later (`x-delay`, delayed message exchange). A dead letter or a replay with them would reach other groups again, so they
 * are kept under another name.
 */
const ROUTING_HEADERS: ReadonlySet<string> = new Set(['CC', 'BCC', 'x-delay'])
const KEPT_PREFIX = 'x-original-header-'
/** Longest table of original headers that is kept whole, in bytes. The client's limit leaves room for ours. */
const MAX_HEADER_BYTES = 60_000
/** Longest header that is kept of a longer table, in characters of JSON. */
const MAX_KEPT_HEADER = 500
/** Most headers that are kept of a longer table. */
const MAX_KEPT_HEADERS = 50

/** The dead letter of a message: the original body and properties, with headers that describe the failure. */
export function deadLetterOf(
  names: RabbitMQNames,
  message: AmqpMessage,
  { places, ...reason }: DeadLetterReason & { readonly places: ReadonlyMap<string, string> },
): AmqpOutgoing {
  const fields = writeReason(reason)
  const about: Record<string, unknown> = {
    [ORIGINAL_ROUTING_KEY]: originalRoutingKey(message),
    [LETTER_TAG]: newTag(),
  }
  const kept = keptHeaders(message.properties.headers)
  if (!hasRoomFor(fields, kept)) delete fields['dlq_error_stack']
  Object.assign(about, headersOf(fields))
  const replays = message.properties.headers?.[REPLAY_COUNT]
  if (replays !== undefined) about[REPLAY_COUNT] = replays
  if (places.size > 0) about[PLACES] = JSON.stringify(Object.fromEntries(places))
  return {
    exchange: names.deadLetterExchange,
    routingKey: names.queue,
    content: message.content,
    properties: keptProperties(message.properties, { ...kept, ...about }),
  }
}

/** A dead letter that was read elsewhere. */
export function importedLetter(names: RabbitMQNames, letter: Omit<StoredDeadLetter, 'id'>): AmqpOutgoing {
  const { headers, body } = letter.message
  return {
    exchange: '',
    routingKey: names.deadLetterQueue,
    content: Buffer.from(body as Uint8Array),
    properties: keptProperties(
      { messageId: headers['event_id'], contentType: 'application/json', contentEncoding: 'utf-8' },
      {
        ...keptHeaders(headers),
        [ORIGINAL_ROUTING_KEY]: originalKeyOf(headers),
        [LETTER_TAG]: newTag(),
        ...headersOf(writeImported(letter)),
      },
    ),
  }
}

const newTag = () => randomUUID().slice(0, 13)

function originalKeyOf({ aggregate_type: aggregateType, event_type: eventType }: MessageHeaders): string {
  return [aggregateType, eventType].filter((part) => part !== undefined).join('.')
}

/** The fields as headers. eventsource-py reads the number of retries as a number. */
function headersOf(fields: Readonly<Record<string, string>>): Record<string, unknown> {
  const headers: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(fields)) {
    const header = HEADER_OF[name]
    if (header !== undefined) headers[header] = header === 'x-dlq-retry-count' ? Number(value) : value
  }
  return headers
}

/** False if the stack of the error would take the room that the original headers need. */
function hasRoomFor({ dlq_error_stack: stack = '' }: Record<string, string>, kept: AmqpTable): boolean {
  return stack === '' || sizeOf(Object.entries(kept)) + Buffer.byteLength(stack) < MAX_HEADER_BYTES
}

/** Where a replay is published: an exchange that leads to one group alone. */
export type ReplayAddress = Pick<AmqpOutgoing, 'exchange' | 'routingKey'>

/** The message to publish for a replay: the original, addressed to handlers. */
export function replayOf(
  { exchange, routingKey }: ReplayAddress,
  message: AmqpMessage,
  destination: Pick<ReplayDestination, 'handlerNames' | 'settledHandlers'> & {
    readonly places: ReadonlyMap<string, string> | undefined
  },
): AmqpOutgoing {
  const headers: Record<string, unknown> = {
    ...keptHeaders(message.properties.headers),
    'x-retry-count': 0,
    ...headersOf(writeReplay(readHistory(message))),
    [ORIGINAL_ROUTING_KEY]: originalRoutingKey(message),
  }
  delete headers[REPLAY_HANDLERS]
  const { handlerNames, places } = destination
  if (handlerNames.length > 0 || places !== undefined) headers[REPLAY_HANDLERS] = replayHeader(destination)
  return {
    exchange,
    routingKey,
    content: message.content,
    properties: keptProperties(message.properties, headers),
  }
}

/** The places behind which later messages wait, by the names of the handlers; undefined if there are none. */
export function placesIn({ properties }: AmqpMessage): ReadonlyMap<string, string> | undefined {
  const text = properties.headers?.[PLACES]
  try {
    return typeof text === 'string' ? readPlaces(JSON.parse(text)) : undefined
  } catch {
    return undefined // other programs may write dead letters, too
  }
}

/** The aggregate of a message. */
export function keyOf(message: AmqpMessage): string | undefined {
  return textHeaders(message)['aggregate_id']
}

/** The dead letter with another message in it. */
export function editedLetter(letter: AmqpMessage, message: OutgoingMessage): AmqpMessage {
  const { content, properties } = toAmqp('', message)
  const history = headersOf(historyFields(letter))
  const headers = { ...properties.headers, ...history, [ORIGINAL_ROUTING_KEY]: originalRoutingKey(letter) }
  return { fields: letter.fields, content, properties: { ...properties, headers } }
}

function historyFields(letter: AmqpMessage): Record<string, string> {
  const { dlq_replay_count: count, dlq_replayed_at: at } = fieldsOf(letter)
  return {
    ...(count !== undefined && { dlq_replay_count: count }),
    ...(at !== undefined && { dlq_replayed_at: at }),
  }
}

/**
 * A copy of the message with further headers, without those that the broker or a dead-lettering adds. `ORIGINAL_ROUTING_KEY`
 * keeps the first routing key.
 */
export function copyOf(
  message: AmqpMessage,
  headers: AmqpTable,
): Pick<AmqpOutgoing, 'content' | 'properties'> {
  const kept = {
    ...keptHeaders(message.properties.headers),
    [ORIGINAL_ROUTING_KEY]: originalRoutingKey(message),
  }
  return { content: message.content, properties: keptProperties(message.properties, { ...kept, ...headers }) }
}

export function readLetter(names: RabbitMQNames, id: string, message: AmqpMessage): StoredDeadLetter {
  return {
    id,
    message: { headers: originalHeaders(message), body: message.content },
    reason: readLetterReason(message),
    source: `${names.queue} (routing key ${originalRoutingKey(message)})`,
    ...readHistory(message),
  }
}

/** The id of the message in a dead letter, which eventsource-py sets too, or else a hash of its body. */
export function messageIdOf({ properties, content }: AmqpMessage): string {
  return properties.messageId ?? `sha256-${createHash('sha256').update(content).digest('hex').slice(0, 32)}`
}

/**
 * Gives an id to each letter of a queue, in the order of the queue. Messages can have the same id, and letters that
 * eventsource-py or the broker wrote have nothing else: the second of them gets a number.
 */
export class LetterIds {
  readonly #counts = new Map<string, number>()

  next(message: AmqpMessage): string {
    const tag = message.properties.headers?.[LETTER_TAG]
    const id = typeof tag === 'string' ? `${messageIdOf(message)}#${tag}` : messageIdOf(message)
    const count = (this.#counts.get(id) ?? 0) + 1
    this.#counts.set(id, count)
    return count === 1 ? id : `${id}#${count}`
  }
}

/** The routing key that the message was first published with. */
export function originalRoutingKey({ properties, fields }: AmqpMessage): string {
  const noted = properties.headers?.[ORIGINAL_ROUTING_KEY]
  if (typeof noted === 'string') return noted
  const [death] = arrayOf(properties.headers?.['x-death'])
  const keys =
    typeof death === 'object' && death !== null && 'routing-keys' in death ? death['routing-keys'] : []
  const [key] = arrayOf(keys)
  return typeof key === 'string' ? key : fields.routingKey
}

export function readLetterReason(message: AmqpMessage): Partial<DeadLetterReason> {
  return readReason(fieldsOf(message))
}

function readHistory(message: AmqpMessage): ReplayHistory {
  return readReplays(fieldsOf(message))
}

function fieldsOf(message: AmqpMessage): Record<string, string | undefined> {
  const texts = textHeaders(message)
  return Object.fromEntries(Object.entries(HEADER_OF).map(([name, header]) => [name, texts[header]]))
}

function originalHeaders(message: AmqpMessage): MessageHeaders {
  return Object.fromEntries(
    Object.entries(textHeaders(message)).flatMap(([name, value]) =>
      ADDED.test(name) ? [] : [[originalName(name), value]],
    ),
  )
}

/** The original headers. If their table leaves no room for ours, only short ones are kept. */
function keptHeaders(headers: AmqpTable = {}): AmqpTable {
  const own = Object.entries(headers).flatMap(([name, value]) =>
    ADDED.test(name) ? [] : [[keptName(name), value] as const],
  )
  if (sizeOf(own) < MAX_HEADER_BYTES) return Object.fromEntries(own)
  return Object.fromEntries(
    own.filter(([name, value]) => sizeOf([[name, value]]) < MAX_KEPT_HEADER).slice(0, MAX_KEPT_HEADERS),
  )
}

/** Size of headers, without their deepest tables, which JSON.stringify may not be able to write. */
function sizeOf(headers: readonly (readonly [name: string, value: unknown])[]): number {
  return Buffer.byteLength(JSON.stringify(writableTable(Object.fromEntries(headers))))
}

function keptName(name: string): string {
  return ROUTING_HEADERS.has(name) ? `${KEPT_PREFIX}${name}` : name
}

function originalName(name: string): string {
  return name.startsWith(KEPT_PREFIX) ? name.slice(KEPT_PREFIX.length) : name
}

/** Omits `expiration`, which would drop the dead letter, and `userId`, which only that user may set. */
function keptProperties(properties: AmqpProperties, headers: AmqpTable): AmqpProperties {
  const {
    contentType,
    contentEncoding,
    priority,
    correlationId,
    replyTo,
    messageId,
    timestamp,
    type,
    appId,
  } = properties
  return writableProperties({
    contentType,
    contentEncoding,
    deliveryMode: 2,
    priority,
    correlationId,
    replyTo,
    messageId,
    timestamp,
    type,
    appId,
    headers,
  })
}

function arrayOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}
