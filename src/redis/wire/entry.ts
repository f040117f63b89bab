import { isUtf8 } from 'node:buffer'
import type { IncomingMessage, OutgoingMessage } from '../../transport/transport.ts'
import type { RedisArgument } from '../client/client.ts'

/** Fields of an entry as eventsource-py writes them, in its order; `payload` follows. */
const ENTRY_HEADERS = [
  'event_id',
  'event_type',
  'aggregate_id',
  'aggregate_type',
  'tenant_id',
  'occurred_at',
] as const

/** Headers that stand in the body as well, and that eventsource-py does not write as fields. */
const IN_THE_BODY: ReadonlySet<string> = new Set([
  ...ENTRY_HEADERS,
  'aggregate_version',
  'correlation_id',
  'causation_id',
  'actor_id',
])

/** The content type that needs no saying. */
const JSON_TYPE = 'application/json'

/** The XADD of a message: eventsource-py's fields, then what we add, such as the trace context. */
export function entryCommand(
  stream: string,
  { headers, body, contentType }: OutgoingMessage,
): RedisArgument[] {
  const args: RedisArgument[] = ['XADD', stream, '*']
  for (const name of ENTRY_HEADERS) args.push(name, headers[name] ?? '')
  args.push('payload', typeof body === 'string' ? body : Buffer.from(body))
  for (const name in headers) if (!IN_THE_BODY.has(name)) args.push(name, headers[name] ?? '')
  if (contentType !== JSON_TYPE) args.push('content_type', contentType)
  return args
}

/** An entry of a stream: its id and its fields, name and value by turns. */
export interface StreamEntry<T extends RedisArgument = RedisArgument> {
  readonly id: string
  readonly fields: readonly T[]
}

/** The entries in a reply of XRANGE, or in one stream of XREADGROUP's. Deleted entries have no fields. */
export function readEntries(reply: unknown): readonly StreamEntry[] {
  if (!Array.isArray(reply)) return []
  return reply.flatMap((item: unknown) => {
    if (!Array.isArray(item) || item.length < 2) return []
    const [id, fields]: unknown[] = item
    return [{ id: String(id), fields: Array.isArray(fields) ? fields.filter(isArgument) : [] }]
  })
}

function isArgument(value: unknown): value is RedisArgument {
  return typeof value === 'string' || Buffer.isBuffer(value)
}

/** What a text shows where its bytes were no UTF-8. */
const REPLACEMENT = '\uFFFD'

/** True when the texts may differ from the bytes, so that the entry has to be read again as bytes. */
export function mayBeMangled({ fields }: StreamEntry): boolean {
  return fields.some((field) => typeof field === 'string' && field.includes(REPLACEMENT))
}

/** The message in an entry. Fields that are no text are left out of the headers. */
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
  // An empty field is how eventsource-py writes an absent one.
  if (value === undefined || value === '' || name === '__proto__') return
  headers[name] = value
}

function textOf(value: RedisArgument | undefined): string | undefined {
  if (value === undefined || typeof value === 'string') return value
  return isUtf8(value) ? value.toString('utf8') : undefined
}
