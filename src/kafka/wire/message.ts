import type { IncomingMessage, OutgoingMessage } from '../../transport/transport.ts'
import { textOf } from './byte-reader.ts'
import type { RecordToWrite } from './record-batch.ts'
import type { StoredRecord } from './record-reader.ts'

/** The default content type, which is not written. */
const JSON_TYPE = 'application/json'

/** Encodes a message as eventsource-py does: its headers in order, then the content type. */
export function recordOf({ key, headers, body, contentType }: OutgoingMessage): RecordToWrite {
  const pairs = Object.entries(headers)
  if (contentType !== JSON_TYPE) pairs.push(['content_type', contentType])
  return { key, value: body, headers: pairs }
}

/** Decodes the message in a record. It omits headers that are not text; a null value becomes an empty body. */
export function messageOf(id: string, { key, value, headerTexts }: StoredRecord): IncomingMessage {
  return { id, key: keyOf(key), headers: headerTexts, body: value ?? '' }
}

/** The ordering key. A key that is not text is encoded. */
export function keyOf(key: Buffer | null): string | undefined {
  if (key === null) return undefined
  return textOf(key, 0, key.length) ?? `base64:${key.toString('base64')}`
}
