import { toError } from '../../errors.ts'
import type { KafkaCompression } from './compression.ts'
import { Cursor } from './cursor.ts'

/** A record as it stands in the log. */
export interface StoredRecord {
  readonly offset: number
  /** Milliseconds since 1970. */
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** As they are, made anew at each look. */
  readonly headers: readonly (readonly [name: Buffer | null, value: Buffer | null])[]
  /** Those that are text, made anew at each look. Of several with one name the last counts, as for eventsource-py. */
  readonly headerTexts: Readonly<Record<string, string>>
}

/** A record whose headers are read when somebody asks: of most only the texts are wanted, and once. */
class RecordInBatch implements StoredRecord {
  readonly offset: number
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly #batch: Buffer
  readonly #headersAt: number
  readonly #headerCount: number

  constructor(
    { offset, timestamp, key, value }: Pick<StoredRecord, 'offset' | 'timestamp' | 'key' | 'value'>,
    headers: { readonly batch: Buffer; readonly position: number; readonly count: number },
  ) {
    this.offset = offset
    this.timestamp = timestamp
    this.key = key
    this.value = value
    this.#batch = headers.batch
    this.#headersAt = headers.position
    this.#headerCount = headers.count
  }

  get headers(): StoredRecord['headers'] {
    const cursor = new Cursor(this.#batch, this.#headersAt)
    return Array.from({ length: this.#headerCount }, () => [cursor.bytes(), cursor.bytes()] as const)
  }

  get headerTexts(): Readonly<Record<string, string>> {
    const cursor = new Cursor(this.#batch, this.#headersAt)
    const texts: Record<string, string> = {}
    for (let index = 0; index < this.#headerCount; index += 1) {
      const name = cursor.text()
      const text = cursor.text()
      if (name !== undefined && text !== undefined && name !== '__proto__') texts[name] = text
    }
    return texts
  }
}

/** What a range of a log held. */
export interface ReadRecords {
  readonly records: readonly StoredRecord[]
  /** The offset after the last one that was looked at. */
  readonly nextOffset: number
  /** Batches that could not be read; their offsets were passed. */
  readonly unreadable: readonly { readonly from: number; readonly to: number; readonly error: Error }[]
}

export interface AbortedTransaction {
  readonly producerId: bigint
  readonly firstOffset: bigint
}

/** What reading takes from the client. */
export interface RecordLibrary {
  readonly compressionsAlgorithmsByBitmask: Readonly<Record<number, KafkaCompression>>
  crc32c(bytes: Buffer): number
}

const BATCH_HEADER = 61
/** Offset, length, leader epoch and format: what all formats begin with. */
const COMMON_HEADER = 17
const FORMAT = 2
const CODEC = 0b111
const IS_TRANSACTIONAL = 0b1_0000
const IS_CONTROL = 0b10_0000
const LOG_APPEND_TIME = 0b1000

/**
 * Reads the batches of a fetch answer, from an offset on, without control records and aborted transactions. The last
 * batch may be cut off; it is left for the next fetch.
 */
export function readBatches(
  bytes: Buffer,
  from: number,
  library: RecordLibrary,
  aborted: readonly AbortedTransaction[],
): ReadRecords {
  const records: StoredRecord[] = []
  const unreadable: { from: number; to: number; error: Error }[] = []
  const transactions = new OpenAborts(aborted)
  let nextOffset = from
  for (let start = 0; start + COMMON_HEADER <= bytes.length; ) {
    const end = start + 12 + bytes.readInt32BE(start + 8)
    if (end > bytes.length) break
    const batch = bytes.subarray(start, Math.max(start, end))
    const fault = faultOf(batch, library)
    // Nothing in a batch with a fault can be trusted, its own place neither.
    const first = fault === undefined ? Number(batch.readBigInt64BE(0)) : nextOffset
    const last = fault === undefined ? first + batch.readInt32BE(23) : lastBefore(bytes, end, first, library)
    try {
      if (fault !== undefined) throw new Error(fault)
      if (last >= from && transactions.isWanted(batch, last)) readBatch(batch, first, from, library, records)
    } catch (thrown) {
      unreadable.push({ from: Math.max(first, from), to: last, error: toError(thrown) })
    }
    nextOffset = Math.max(nextOffset, last + 1)
    // With such a length the next batch cannot be found.
    if (end < start + COMMON_HEADER) break
    start = end
  }
  return { records, nextOffset, unreadable }
}

/** Why nothing in a batch can be trusted; undefined when it can. */
function faultOf(batch: Buffer, { crc32c }: RecordLibrary): string | undefined {
  const format = batch.length < COMMON_HEADER ? FORMAT : batch.readInt8(16)
  if (format !== FORMAT) return `record format ${format} is not supported`
  if (batch.length < BATCH_HEADER) return 'a batch is cut off'
  return crc32c(batch.subarray(21)) >>> 0 === batch.readUInt32BE(17) ? undefined : 'the checksum is wrong'
}

/** The last offset before the batch that follows; where none is in sight, one offset is passed at a time. */
function lastBefore(bytes: Buffer, end: number, first: number, library: RecordLibrary): number {
  if (end < COMMON_HEADER || end + COMMON_HEADER > bytes.length) return first
  const next = bytes.subarray(end, end + 12 + bytes.readInt32BE(end + 8))
  return faultOf(next, library) === undefined ? Math.max(first, Number(next.readBigInt64BE(0)) - 1) : first
}

/** Which producers' transactions were rolled back, as the reading goes on. */
class OpenAborts {
  readonly #coming: AbortedTransaction[]
  readonly #open = new Set<bigint>()

  constructor(aborted: readonly AbortedTransaction[]) {
    this.#coming = aborted.toSorted((a, b) => Number(a.firstOffset - b.firstOffset))
  }

  /** False for control batches and those of aborted transactions. */
  isWanted(batch: Buffer, last: number): boolean {
    const attributes = batch.readInt16BE(21)
    if ((attributes & (IS_TRANSACTIONAL | IS_CONTROL)) === 0) return true
    const producerId = batch.readBigInt64BE(43)
    while (this.#coming[0] !== undefined && Number(this.#coming[0].firstOffset) <= last) {
      this.#open.add(this.#coming[0].producerId)
      this.#coming.shift()
    }
    if ((attributes & IS_CONTROL) !== 0) {
      // The marker, commit or abort, ends the transaction.
      this.#open.delete(producerId)
      return false
    }
    return !this.#open.has(producerId)
  }
}

function readBatch(
  batch: Buffer,
  first: number,
  from: number,
  { compressionsAlgorithmsByBitmask: codecs }: RecordLibrary,
  into: StoredRecord[],
): void {
  const attributes = batch.readInt16BE(21)
  const codec = attributes & CODEC
  const body = batch.subarray(BATCH_HEADER)
  const algorithm = codecs[codec]
  if (codec !== 0 && algorithm?.available !== true) throw new Error(`unknown compression ${codec}`)
  const bytes = codec === 0 || algorithm === undefined ? body : algorithm.decompressSync(body)
  const cursor = new Cursor(bytes)
  const baseTime = Number(batch.readBigInt64BE(27))
  const appendTime = (attributes & LOG_APPEND_TIME) === 0 ? undefined : Number(batch.readBigInt64BE(35))
  const count = batch.readInt32BE(57)
  const read: StoredRecord[] = []
  for (let index = 0; index < count; index += 1) {
    const record = readRecord(bytes, cursor, first, baseTime, appendTime)
    if (record.offset >= from) read.push(record)
  }
  // All or none of a batch.
  for (const record of read) into.push(record)
}

function readRecord(
  batch: Buffer,
  cursor: Cursor,
  first: number,
  baseTime: number,
  appendTime: number | undefined,
): StoredRecord {
  const length = cursor.varint()
  const end = cursor.position + length
  if (length < 0 || end > cursor.length) throw new Error('a record is cut off')
  cursor.position += 1
  const timestamp = appendTime ?? baseTime + cursor.varlong()
  if (appendTime !== undefined) cursor.varlong()
  const offset = first + cursor.varint()
  const key = cursor.bytes()
  const value = cursor.bytes()
  const headers = { batch, count: cursor.varint(), position: cursor.position }
  // Each must be whole, though nobody may ever ask for it.
  for (let index = 0; index < 2 * headers.count; index += 1) cursor.skip()
  cursor.position = end
  return new RecordInBatch({ offset, timestamp, key, value }, headers)
}
