import type { AmqpProperties, AmqpTable } from '../client/client.ts'
import { MAX_DEPTH, MAX_SHORT_STRING } from './message.ts'

const SIGNED_LIMIT = 2 ** 63
const UNSIGNED_LIMIT = 2 ** 64

/**
 * Properties that were read, in a form that the client can write: any message must be dead-letterable. The client reads
 * more than it writes. Bytes that are not UTF-8 grow when they are written again, and for some numbers the client picks a
 * type that cannot hold them.
 */
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
  // Half of a surrogate pair would be written as another character.
  return text.slice(0, text.slice(0, end).isWellFormed() ? end : end - 1)
}

/** A table that the client can write. */
export function writableTable(table: AmqpTable, depth = 0): AmqpTable {
  return Object.fromEntries(
    Object.entries(table).map(([name, value]) => [short(name), writableValue(value, depth + 1)]),
  )
}

function writableValue(value: unknown, depth: number): unknown {
  // Deeper tables become null: writing them, too, could overflow the stack.
  if (depth > MAX_DEPTH) return null
  if (typeof value === 'number') return writableNumber(value)
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return value
  if (Array.isArray(value)) return value.map((item) => writableValue(item, depth + 1))
  // Other objects of the client are tables: of headers, or a value with its type.
  const table = value as AmqpTable
  return Object.hasOwn(table, '!') ? writableTyped(table) : writableTable(table, depth)
}

/** The client writes any large number as a 64-bit integer, even a fraction, or one that does not fit. */
function writableNumber(value: number): unknown {
  const isWritable = Number.isInteger(value) && Math.abs(value) < SIGNED_LIMIT
  return isWritable ? value : { '!': 'double', value }
}

/** The client represents timestamps and decimals as `{ '!': type, value }`. A sender's table can look the same. */
function writableTyped(table: AmqpTable): unknown {
  const { '!': type, value } = table
  if (type === 'timestamp' && typeof value === 'number' && isUnsigned(value)) return table
  if (type === 'decimal' && typeof value === 'object') return table
  return JSON.stringify(table)
}

function isUnsigned(value: number): boolean {
  return value >= 0 && value < UNSIGNED_LIMIT
}
