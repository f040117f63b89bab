import { isUtf8 } from 'node:buffer'
import { DecodeError } from '../../codec/index.ts'
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
  return reply.flatMap((item: unknown) => {
    if (!Array.isArray(item) || item.length < 2) return []
    const [id, fields]: unknown[] = item
    return [entryOf(String(id), Array.isArray(fields) ? fields : [])]
  })
}

function entryOf(id: string, fields: readonly unknown[]): StreamEntry {
  if (!fields.includes(null)) return { id, fields: fields.filter(isArgument), isPartial: false }
  return { id, fields: fields.map((field) => field ?? '').filter(isArgument), isPartial: true }
}

/** Size of an entry in bytes of names and values, as far as it was read. A character counts as one. */
export function sizeOf({ fields }: StreamEntry): number {
  return fields.reduce((total, field) => total + field.length, 0)
}

function isArgument(value: unknown): value is RedisArgument {
  return typeof value === 'string' || Buffer.isBuffer(value)
}

/** The character that replaces bytes that are not valid UTF-8. */
const REPLACEMENT = '\uFFFD'

/** True if decoding as UTF-8 may have lost bytes. Such an entry has to be read again as bytes. */
export function mayBeMangled({ fields, isPartial }: StreamEntry): boolean {
  return !isPartial && fields.some((field) => typeof field === 'string' && field.includes(REPLACEMENT))
}

/** The message in an entry, or its refusal if the entry is too large. @param maxBytes - of all names and values. */
export function readMessageWithin(entry: StreamEntry, maxBytes: number): IncomingMessage {
  const { id, fields, isPartial } = entry
  if (fields.length > MAX_FIELDS) {
    const fault = tooLarge(`${fields.length / 2} fields, more than the ${MAX_FIELDS / 2} allowed`)
    return { id, key: undefined, headers: {}, body: '', fault }
  }
  const message = readMessage(entry)
  if (!isPartial && sizeOf(entry) <= maxBytes) return message
  return { ...message, fault: tooLarge(`more than the ${maxBytes} bytes allowed (maxEntryBytes)`) }
}

function tooLarge(what: string): DecodeError {
  return new DecodeError('too_large', `The entry has ${what}.`)
}

/** The message in an entry. Its headers leave out fields that are not valid UTF-8. */
export function readMessage({ id, fields }: StreamEntry): IncomingMessage {
  const headers: Record<string, string> = {}
  let body: RedisArgument = ''
  for (let index = 0; index + 1 < fields.length; index += 2) {
    const name = textOf(fields[index])
    const value = fields[index + 1]
    if (name === undefined || value === undefined) continue
    if (name === 'payload') body = value
    else setHeader(headers, name, textOf(value))
  }
  return { id, key: headers['aggregate_id'], headers, body }
}

function setHeader(headers: Record<string, string>, name: string, value: string | undefined): void {
  // eventsource-py writes an absent value as an empty field.
  if (value === undefined || value === '' || name === '__proto__') return
  headers[name] = value
}

function textOf(value: RedisArgument | undefined): string | undefined {
  if (value === undefined || typeof value === 'string') return value
  return isUtf8(value) ? value.toString('utf8') : undefined
}
