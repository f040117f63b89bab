import type { IncomingMessage, OutgoingMessage } from '../../transport/transport.ts'
import { textOf } from './cursor.ts'
import type { RecordToWrite } from './record-batch.ts'
import type { StoredRecord } from './record-reader.ts'

/** The content type that needs no saying. */
const JSON_TYPE = 'application/json'

/** The record of a message, as eventsource-py writes it: the headers in their order, then what we add. */
export function recordOf({ key, headers, body, contentType }: OutgoingMessage): RecordToWrite {
  const pairs = Object.entries(headers)
  if (contentType !== JSON_TYPE) pairs.push(['content_type', contentType])
  return { key, value: body, headers: pairs }
}

/** The message in a record. Headers that are no text are left out, and a null value is an empty body. */
export function messageOf(id: string, { key, value, headerTexts }: StoredRecord): IncomingMessage {
  return { id, key: keyOf(key), headers: headerTexts, body: value ?? '' }
}

/** What order is kept by. A key that is no text is a key all the same. */
function keyOf(key: Buffer | null): string | undefined {
  if (key === null) return undefined
  return textOf(key, 0, key.length) ?? `base64:${key.toString('base64')}`
}
