import { ByteReader, textOf } from './byte-reader.ts'

/** A record in the log. */
export interface StoredRecord {
  readonly offset: number
  /** Milliseconds since 1970. */
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** The key as text; undefined if it is not text, or was not read. */
  readonly keyText?: string | undefined
  /** The value as text; undefined if it is not text, is long, or was not read. */
  readonly valueText?: string | undefined
  /** The text of the header `event_type`, read without the others. */
  readonly typeHeader?: string | undefined
  /** Size of the whole record in its batch, decompressed. */
  readonly sizeBytes: number
  /** Every header as bytes. Decoded on each access. */
  readonly headers: readonly (readonly [name: Buffer | null, value: Buffer | null])[]
  /**
   * The headers that are text. Decoded on each access. The last of several with one name counts, as for eventsource-py.
   */
  readonly headerTexts: Readonly<Record<string, string>>
}

/** Where the parts of a record are in its batch. The end is -1 for null. */
interface RecordParts {
  readonly keyStart: number
  readonly keyEnd: number
  readonly valueStart: number
  readonly valueEnd: number
  /** The last header `event_type` with a value. */
  readonly typeStart: number
  readonly typeEnd: number
  readonly headersAt: number
  readonly headerCount: number
}

/** A longer value is not read as text, because it may exceed the limit of the codec. */
const MAX_TEXT = 65_536

/** A record that decodes its parts on access: handling most events takes the texts of the key, the value and one header. */
class RecordInBatch implements StoredRecord {
  readonly offset: number
  readonly timestamp: number
  readonly sizeBytes: number
  readonly #batch: Buffer
  readonly #parts: RecordParts

  constructor(batch: Buffer, offset: number, timestamp: number, sizeBytes: number, parts: RecordParts) {
    this.offset = offset
    this.timestamp = timestamp
    this.sizeBytes = sizeBytes
    this.#batch = batch
    this.#parts = parts
  }

  get key(): Buffer | null {
    return this.#bytes(this.#parts.keyStart, this.#parts.keyEnd)
  }

  get value(): Buffer | null {
    return this.#bytes(this.#parts.valueStart, this.#parts.valueEnd)
  }

  get keyText(): string | undefined {
    return this.#text(this.#parts.keyStart, this.#parts.keyEnd)
  }

  get valueText(): string | undefined {
    const { valueStart, valueEnd } = this.#parts
    return valueEnd - valueStart > MAX_TEXT ? undefined : this.#text(valueStart, valueEnd)
  }

  get typeHeader(): string | undefined {
    const { typeStart, typeEnd } = this.#parts
    // Records in a row often have the same type.
    if (!isAscii(this.#batch, typeStart, typeEnd, lastType)) {
      const text = this.#text(typeStart, typeEnd)
      if (text === undefined) return undefined
      lastType = text
    }
    return lastType
  }

  get headers(): StoredRecord['headers'] {
    const reader = new ByteReader(this.#batch, this.#parts.headersAt)
    return Array.from({ length: this.#parts.headerCount }, () => [reader.bytes(), reader.bytes()] as const)
  }

  get headerTexts(): Readonly<Record<string, string>> {
    const reader = new ByteReader(this.#batch, this.#parts.headersAt)
    const texts: Record<string, string> = {}
    for (let index = 0; index < this.#parts.headerCount; index += 1) {
      const name = reader.text()
      const text = reader.text()
      if (name !== undefined && text !== undefined && name !== '__proto__') texts[name] = text
    }
    return texts
  }

  #bytes(start: number, end: number): Buffer | null {
    return end < 0 ? null : this.#batch.subarray(start, end)
  }

  #text(start: number, end: number): string | undefined {
    return end < 0 ? undefined : textOf(this.#batch, start, end)
  }
}

const TYPE_HEADER = 'event_type'

/** The value of the header `event_type` that was read last. */
let lastType = ''

/** True if the bytes are this text. */
function isAscii(bytes: Buffer, start: number, end: number, text: string): boolean {
  if (end - start !== text.length) return false
  for (let index = 0; index < text.length; index += 1) {
    const byte = bytes[start + index]
    if (byte === undefined || byte > 0x7f || byte !== text.charCodeAt(index)) return false
  }
  return true
}

/** Reads the next record of a batch. */
export function readRecord(
  batch: Buffer,
  reader: ByteReader,
  first: number,
  baseTime: number,
  appendTime: number | undefined,
): StoredRecord {
  const length = reader.varint()
  const end = reader.position + length
  if (length < 0 || end > reader.length) throw new Error('a record is truncated')
  reader.position += 1
  const timestamp = appendTime ?? baseTime + reader.varlong()
  if (appendTime !== undefined) reader.varlong()
  const offset = first + reader.varint()
  const keyEnd = reader.skip() ?? -1
  const keyStart = reader.start
  const valueEnd = reader.skip() ?? -1
  const valueStart = reader.start
  const headerCount = reader.varint()
  const headersAt = reader.position
  // Validate every header now, because later access must not fail.
  if (headerCount < 0) throw new Error('a record has a negative number of headers')
  let typeStart = 0
  let typeEnd = -1
  for (let index = 0; index < headerCount; index += 1) {
    const nameEnd = reader.skip()
    const isType = nameEnd !== undefined && isAscii(batch, reader.start, nameEnd, TYPE_HEADER)
    const textEnd = reader.skip()
    if (!isType || textEnd === undefined) continue
    typeStart = reader.start
    typeEnd = textEnd
  }
  if (reader.position > end) throw new Error('a record is longer than it declares')
  reader.position = end
  const parts = { keyStart, keyEnd, valueStart, valueEnd, typeStart, typeEnd, headersAt, headerCount }
  return new RecordInBatch(batch, offset, timestamp, length, parts)
}
