import { isUtf8 } from 'node:buffer'
import { DecodeError, type MessageHeaders } from '../../codec/index.ts'
import type { IncomingMessage, OutgoingMessage } from '../../transport/transport.ts'
import type { RedisArgument } from '../client/client.ts'

/** The fields that eventsource-py writes, in its order, before `payload`. */
const ENTRY_HEADERS = [
  'event_id',
  'event_type',
  'aggregate_id',
  'aggregate_type',
  'tenant_id',
  'occurred_at',
] as const

/** Headers that are also in the body. eventsource-py writes only the first six as fields. */
const IN_THE_BODY: ReadonlySet<string> = new Set([
  ...ENTRY_HEADERS,
  'aggregate_version',
  'correlation_id',
  'causation_id',
  'actor_id',
])

/** The content type of an entry without the field `content_type`. */
const DEFAULT_CONTENT_TYPE = 'application/json'

/** The XADD command for a message: the fields of eventsource-py, then further headers, such as the trace context. */
export function entryCommand(
  stream: string,
  { headers, body, contentType }: OutgoingMessage,
): RedisArgument[] {
  const args: RedisArgument[] = ['XADD', stream, '*']
  for (const name of ENTRY_HEADERS) args.push(name, headers[name] ?? '')
  args.push('payload', typeof body === 'string' ? body : Buffer.from(body))
  for (const name in headers) if (!IN_THE_BODY.has(name)) args.push(name, headers[name] ?? '')
  if (contentType !== DEFAULT_CONTENT_TYPE) args.push('content_type', contentType)
  return args
}

/** An entry of a stream: its id, and its fields as alternating names and values. */
export interface StreamEntry {
  readonly id: string
  readonly fields: readonly RedisArgument[]
  /** True if some strings are empty because the reply was too large. */
  readonly isPartial: boolean
}

/** Most names and values of an entry. */
const MAX_FIELDS = 20_000

/** The entries in a reply of XRANGE, or in one stream of a reply of XREADGROUP. Deleted entries have no fields. */
export function readEntries(reply: unknown): readonly StreamEntry[] {
  if (!Array.isArray(reply)) return []
  const entries: StreamEntry[] = []
  for (const item of reply as readonly unknown[]) {
    if (!Array.isArray(item) || item.length < 2) continue
    const [id, fields]: unknown[] = item
    entries.push(entryOf(String(id), Array.isArray(fields) ? fields : []))
  }
  return entries
}

function entryOf(id: string, fields: readonly unknown[]): StreamEntry {
  if (areArguments(fields)) return { id, fields, isPartial: false }
  if (!fields.includes(null)) return { id, fields: fields.filter(isArgument), isPartial: false }
  return { id, fields: fields.map((field) => field ?? '').filter(isArgument), isPartial: true }
}

/** Size of an entry in bytes of names and values, as far as it was read. A character counts as one. */
export function sizeOf({ fields }: StreamEntry): number {
  let total = 0
  for (const field of fields) total += field.length
  return total
}

function areArguments(values: readonly unknown[]): values is readonly RedisArgument[] {
  for (const value of values) if (!isArgument(value)) return false
  return true
}

function isArgument(value: unknown): value is RedisArgument {
  return typeof value === 'string' || Buffer.isBuffer(value)
}

/** The character that replaces bytes that are not valid UTF-8. */
const REPLACEMENT = '\uFFFD'

/** True if decoding as UTF-8 may have lost bytes. Such an entry has to be read again as bytes. */
export function mayBeMangled({ fields, isPartial }: StreamEntry): boolean {
  if (isPartial) return false
  for (const field of fields) if (typeof field === 'string' && field.includes(REPLACEMENT)) return true
  return false
}

/**
 * The message in an entry, or its refusal if the entry is too large.
 * @param maxBytes - of all names and values.
 * @param id - of the message.
 */
export function readMessageWithin(entry: StreamEntry, maxBytes: number, id = entry.id): IncomingMessage {
  const { fields, isPartial } = entry
  if (fields.length > MAX_FIELDS) {
    const fault = tooLarge(`${fields.length / 2} fields, more than the ${MAX_FIELDS / 2} allowed`)
    return { id, key: undefined, headers: {}, body: '', fault }
  }
  const message = new EntryMessage(id, entry)
  if (isPartial || message.sizeBytes > maxBytes)
    message.fault = tooLarge(`more than the ${maxBytes} bytes allowed (maxEntryBytes)`)
  return message
}

function tooLarge(what: string): DecodeError {
  return new DecodeError('too_large', `The entry has ${what}.`)
}

/** The message in an entry. Its headers leave out fields that are not valid UTF-8. */
export function readMessage(entry: StreamEntry): IncomingMessage {
  return new EntryMessage(entry.id, entry)
}

/** The message in an entry, of which the handling of most events needs only the body and two of the headers. */
class EntryMessage implements IncomingMessage {
  readonly id: string
  readonly key: string | undefined
  readonly typeHeader: string | undefined
  readonly body: RedisArgument
  readonly sizeBytes: number
  fault: Error | undefined
  readonly #fields: StreamEntry['fields']
  #headers: MessageHeaders | undefined

  constructor(id: string, entry: StreamEntry) {
    const { fields } = entry
    this.id = id
    this.#fields = fields
    let key: string | undefined
    let typeHeader: string | undefined
    let body: RedisArgument = ''
    for (let index = 0; index + 1 < fields.length; index += 2) {
      const name = textOf(fields[index])
      if (name === 'payload') body = fields[index + 1] ?? ''
      else if (name === 'aggregate_id') key = headerOf(fields[index + 1]) ?? key
      else if (name === 'event_type') typeHeader = headerOf(fields[index + 1]) ?? typeHeader
    }
    this.key = key
    this.typeHeader = typeHeader
    this.body = body
    this.sizeBytes = sizeOf(entry)
  }

  get headers(): MessageHeaders {
    this.#headers ??= readHeaders(this.#fields)
    return this.#headers
  }
}

function readHeaders(fields: StreamEntry['fields']): MessageHeaders {
  const headers: Record<string, string> = {}
  for (let index = 0; index + 1 < fields.length; index += 2) {
    const name = textOf(fields[index])
    const value = headerOf(fields[index + 1])
    if (name !== undefined && value !== undefined && name !== 'payload' && name !== '__proto__')
      headers[name] = value
  }
  return headers
}

/** eventsource-py writes an absent value as an empty field. */
function headerOf(value: RedisArgument | undefined): string | undefined {
  const text = textOf(value)
  return text === '' ? undefined : text
}

function textOf(value: RedisArgument | undefined): string | undefined {
  if (value === undefined || typeof value === 'string') return value
  return isUtf8(value) ? value.toString('utf8') : undefined
}
