import { isUtf8 } from 'node:buffer'
import type { IncomingMessage, OutgoingMessage } from '../bus/transport.ts'
import type { RecordToWrite } from './kafka-record-batch.ts'
import type { StoredRecord } from './kafka-record-reader.ts'

/** The content type that needs no saying. */
const JSON_TYPE = 'application/json'

/** The record of a message, as eventsource-py writes it: the headers in their order, then what we add. */
export function recordOf({ key, headers, body, contentType }: OutgoingMessage): RecordToWrite {
  const pairs = Object.entries(headers)
  if (contentType !== JSON_TYPE) pairs.push(['content_type', contentType])
  return { key, value: body, headers: pairs }
}

/** The message in a record. Headers that are no text are left out, and a null value is an empty body. */
export function messageOf(id: string, { key, value, headers }: StoredRecord): IncomingMessage {
  return { id, key: keyOf(key), headers: textHeaders(headers), body: value ?? '' }
}

/** The headers that are text. Of several with one name the last counts, as for eventsource-py. */
export function textHeaders(headers: StoredRecord['headers']): Record<string, string> {
  const texts: Record<string, string> = {}
  for (const [name, value] of headers) {
    const key = textOf(name)
    const text = textOf(value)
    if (key !== undefined && text !== undefined && key !== '__proto__') texts[key] = text
  }
  return texts
}

/** What order is kept by. A key that is no text is a key all the same. */
function keyOf(key: Buffer | null): string | undefined {
  if (key === null) return undefined
  return textOf(key) ?? `base64:${key.toString('base64')}`
}

/** What a text shows where its bytes were no UTF-8. */
const REPLACEMENT = '\uFFFD'

function textOf(bytes: Buffer | null): string | undefined {
  if (bytes === null) return undefined
  const text = bytes.toString('utf8')
  return text.includes(REPLACEMENT) && !isUtf8(bytes) ? undefined : text
}
