import type { EventNames } from '../../events/index.ts'
import { MessageRefusedError } from '../../transport/errors.ts'
import type { IncomingMessage, OutgoingMessage } from '../../transport/transport.ts'
import type { AmqpMessage, AmqpProperties, AmqpTable } from '../client/client.ts'
import { MALFORMED_PROPERTIES } from '../client/table-guard.ts'

type MessageHeaders = IncomingMessage['headers']

/** A message as the client publishes it. */
export interface AmqpOutgoing {
  readonly exchange: string
  readonly routingKey: string
  readonly content: Buffer
  readonly properties: AmqpProperties
}

/** Fields that eventsource-py writes to properties, or only to the body. */
const NOT_HEADERS: ReadonlySet<string> = new Set(['event_id', 'occurred_at', 'actor_id'])
/** Longest short string of AMQP, in bytes. Routing keys, message ids and header names are short strings. */
export const MAX_SHORT_STRING = 255

/** The routing keys of a class's events: one for each of its names, as other releases may publish with an alias. */
export function routingKeysOf(eventClass: EventNames): readonly string[] {
  const { eventType, typeAliases = [], aggregateType, aggregateTypeAliases = [] } = eventClass
  const types = [eventType, ...typeAliases]
  return [aggregateType, ...aggregateTypeAliases].flatMap((of) => types.map((type) => `${of}.${type}`))
}

/**
 * A message with the properties and headers of eventsource-py 0.4.
 * @throws MessageRefusedError if a name is too long for AMQP.
 */
export function toAmqp(exchange: string, message: OutgoingMessage): AmqpOutgoing {
  const { headers, contentType, body } = message
  const routingKey = `${headers['aggregate_type'] ?? ''}.${headers['event_type'] ?? ''}`
  const messageId = headers['event_id']
  checkShort('routing key', routingKey)
  if (messageId !== undefined) checkShort('event id', messageId)
  const table: Record<string, unknown> = {}
  for (const name of Object.keys(headers)) {
    if (NOT_HEADERS.has(name)) continue
    checkShort('name of a header', name)
    table[name] = headers[name]
  }
  const version = table['aggregate_version']
  if (typeof version === 'string' && /^\d{1,15}$/.test(version)) {
    table['aggregate_version'] = amqpInteger(Number(version))
  }
  table['x-retry-count'] = 0
  return {
    exchange,
    routingKey,
    content: typeof body === 'string' ? Buffer.from(body) : asBuffer(body),
    properties: {
      contentType,
      contentEncoding: 'utf-8',
      deliveryMode: 2,
      priority: 0,
      messageId,
      timestamp: secondsOf(headers['occurred_at']),
      headers: table,
    },
  }
}

/** A received message in the bus's form. Headers that are neither text nor number are omitted. */
export function toIncoming(message: AmqpMessage, id: string): IncomingMessage {
  const headers = textHeaders(message)
  const fault = faultOf(message.properties.headers)
  return { id, key: headers['aggregate_id'], headers, body: message.content, fault }
}

function faultOf(headers: AmqpTable = {}): Error | undefined {
  if (Object.hasOwn(headers, MALFORMED_PROPERTIES))
    return new MessageRefusedError('its properties are not valid AMQP')
  if (isDeep(headers))
    return new MessageRefusedError(`its headers are nested deeper than ${MAX_DEPTH} levels`)
  return undefined
}

/** Most levels of nested headers. The broker's own `x-death` has two. */
export const MAX_DEPTH = 32

/** Whether a table is nested too deep. Goes level by level, as a recursion could overflow the stack. */
function isDeep(table: AmqpTable | undefined): boolean {
  let level: readonly unknown[] = [table]
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > MAX_DEPTH + 1) return true
    level = level.flatMap((value) =>
      typeof value === 'object' && value !== null && !Buffer.isBuffer(value) ? Object.values(value) : [],
    )
  }
  return false
}

export function textHeaders({ properties }: Pick<AmqpMessage, 'properties'>): MessageHeaders {
  const texts: Record<string, string> = {}
  const { headers = {}, messageId } = properties
  for (const [name, value] of Object.entries(headers)) {
    if (name === '__proto__') continue
    if (typeof value === 'string') texts[name] = value
    else if (typeof value === 'number') texts[name] = String(value)
  }
  if (typeof messageId === 'string') texts['event_id'] ??= messageId
  return texts
}

/** The smallest AMQP integer type for a value, as eventsource-py's client picks it. amqplib itself picks only signed ones. */
export function amqpInteger(value: number): unknown {
  if (value >= 0x8000 && value <= 0xffff) return { '!': 'uint16', value }
  if (value >= 0x8000_0000 && value <= 0xffff_ffff) return { '!': 'uint32', value }
  return value
}

function checkShort(what: string, text: string): void {
  // The first check is cheap, and enough for most: a UTF-16 unit takes at most three bytes.
  if (text.length * 3 > MAX_SHORT_STRING && Buffer.byteLength(text) > MAX_SHORT_STRING) {
    throw new MessageRefusedError(`the ${what} has more than ${MAX_SHORT_STRING} bytes`)
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function secondsOf(time: string | undefined): number | undefined {
  if (time === undefined) return undefined
  const ms = Date.parse(time)
  // AMQP's timestamps are unsigned seconds since 1970.
  return Number.isNaN(ms) || ms < 0 ? undefined : Math.floor(ms / 1000)
}
