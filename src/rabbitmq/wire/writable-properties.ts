import type { AmqpProperties, AmqpTable } from '../client/client.ts'

// The client reads more than it writes: what is no UTF-8 grows when it is written again, and some numbers it guesses to
// be of a type that cannot hold them. A message has to be dead-lettered whatever stands in its properties.

/** Longest short string of AMQP, in bytes: texts among the properties, names of headers. */
const MAX_SHORT_STRING = 255
const SIGNED_LIMIT = 2 ** 63
const UNSIGNED_LIMIT = 2 ** 64
/** Tables in tables, more than which are left out. */
const MAX_DEPTH = 100

/** Properties as they were read, with what the client would refuse to write cut to what it writes. */
export function writableProperties(properties: AmqpProperties): AmqpProperties {
  const { timestamp, headers = {} } = properties
  return {
    ...properties,
    contentType: short(properties.contentType),
    contentEncoding: short(properties.contentEncoding),
    correlationId: short(properties.correlationId),
    replyTo: short(properties.replyTo),
    messageId: short(properties.messageId),
    type: short(properties.type),
    appId: short(properties.appId),
    timestamp: timestamp !== undefined && isUnsigned(timestamp) ? timestamp : undefined,
    headers: writableTable(headers, 0),
  }
}

function short(text: string): string
function short(text: string | undefined): string | undefined
function short(text: string | undefined): string | undefined {
  if (text === undefined || Buffer.byteLength(text) <= MAX_SHORT_STRING) return text
  let end = MAX_SHORT_STRING
  while (Buffer.byteLength(text.slice(0, end)) > MAX_SHORT_STRING) end -= 1
  return text.slice(0, end)
}

function writableTable(table: AmqpTable, depth: number): AmqpTable {
  return Object.fromEntries(
    Object.entries(table).map(([name, value]) => [short(name), writableValue(value, depth + 1)]),
  )
}

function writableValue(value: unknown, depth: number): unknown {
  if (depth > MAX_DEPTH) return null
  if (typeof value === 'number') return writableNumber(value)
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return value
  if (Array.isArray(value)) return value.map((item) => writableValue(item, depth + 1))
  // Neither null nor an array: the client's objects are tables, or tell their type.
  const table = value as AmqpTable
  return Object.hasOwn(table, '!') ? writableTyped(table) : writableTable(table, depth)
}

/** The client takes all that is large for a 64 bit integer, fractions and what is too large for one too. */
function writableNumber(value: number): unknown {
  const isWritable = Number.isInteger(value) && Math.abs(value) < SIGNED_LIMIT
  return isWritable ? value : { '!': 'double', value }
}

/** The client gives timestamps and decimals as `{ '!': type, value }`; a sender's table can look the same. */
function writableTyped(table: AmqpTable): unknown {
  const { '!': type, value } = table
  if (type === 'timestamp' && typeof value === 'number' && isUnsigned(value)) return table
  if (type === 'decimal' && typeof value === 'object') return table
  return JSON.stringify(table)
}

function isUnsigned(value: number): boolean {
  return value >= 0 && value < UNSIGNED_LIMIT
}
