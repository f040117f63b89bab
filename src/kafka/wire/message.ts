import type { IncomingMessage, OutgoingMessage } from '../../transport/transport.ts'
import { textOf } from './byte-reader.ts'
import type { RecordToWrite } from './record-batch.ts'
import type { StoredRecord } from './stored-record.ts'

/** The default content type, which is not written. */
const JSON_TYPE = 'application/json'

/** Encodes a message as eventsource-py does: its headers in order, then the content type. */
export function recordOf({ key, headers, body, contentType }: OutgoingMessage): RecordToWrite {
  const pairs = Object.entries(headers)
  if (contentType !== JSON_TYPE) pairs.push(['content_type', contentType])
  return { key, value: body, headers: pairs }
}

/** Names the messages of one partition. */
export interface MessageNames {
  messageId(offset: number): string
}

/**
 * The message in a record, decoded on access. It omits headers that are not text; a null value becomes an empty body.
 */
export class RecordMessage implements IncomingMessage {
  readonly key: string | undefined
  readonly #names: MessageNames
  readonly #record: StoredRecord

  constructor(names: MessageNames, record: StoredRecord) {
    this.key = record.keyText ?? keyOf(record.key)
    this.#names = names
    this.#record = record
  }

  get id(): string {
    return this.#names.messageId(this.#record.offset)
  }

  get headers(): IncomingMessage['headers'] {
    return this.#record.headerTexts
  }

  get typeHeader(): string | undefined {
    return this.#record.typeHeader
  }

  get body(): string | Uint8Array {
    return this.#record.valueText ?? this.#record.value ?? ''
  }

  get sizeBytes(): number {
    return this.#record.sizeBytes
  }
}

/** The ordering key. A key that is not text is encoded. */
export function keyOf(key: Buffer | null): string | undefined {
  if (key === null) return undefined
  return textOf(key, 0, key.length) ?? `base64:${key.toString('base64')}`
}
