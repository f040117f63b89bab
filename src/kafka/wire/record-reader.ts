import { toError } from '../../errors.ts'
import { ByteReader } from './byte-reader.ts'
import type { KafkaCompression } from './compression.ts'

/** A record in the log. */
export interface StoredRecord {
  readonly offset: number
  /** Milliseconds since 1970. */
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** Every header as bytes. Decoded on each access. */
  readonly headers: readonly (readonly [name: Buffer | null, value: Buffer | null])[]
  /** The headers that are text. Decoded on each access. The last of several with one name counts, as for eventsource-py. */
  readonly headerTexts: Readonly<Record<string, string>>
}

/** A record that decodes its headers on access, because most records need only the texts, and once. */
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
    const reader = new ByteReader(this.#batch, this.#headersAt)
    return Array.from({ length: this.#headerCount }, () => [reader.bytes(), reader.bytes()] as const)
  }

  get headerTexts(): Readonly<Record<string, string>> {
    const reader = new ByteReader(this.#batch, this.#headersAt)
    const texts: Record<string, string> = {}
    for (let index = 0; index < this.#headerCount; index += 1) {
      const name = reader.text()
      const text = reader.text()
      if (name !== undefined && text !== undefined && name !== '__proto__') texts[name] = text
    }
    return texts
  }
}

/** The records of a range of a log. */
export interface ReadRecords {
  readonly records: readonly StoredRecord[]
  /** The offset after the last batch that was read. */
  readonly nextOffset: number
  /** Offsets that were skipped, because their batches cannot be read. */
  readonly unreadable: readonly { readonly from: number; readonly to: number; readonly error: Error }[]
}

export interface AbortedTransaction {
  readonly producerId: bigint
  readonly firstOffset: bigint
}

/** The functions of the client that reading needs. */
export interface RecordLibrary {
  readonly compressionsAlgorithmsByBitmask: Readonly<Record<number, KafkaCompression>>
  crc32c(bytes: Buffer): number
}

const BATCH_HEADER = 61
/** Offset, length, leader epoch and format, which all formats have in common. */
const COMMON_HEADER = 17
const FORMAT = 2
const CODEC = 0b111
const IS_TRANSACTIONAL = 0b1_0000
const IS_CONTROL = 0b10_0000
const LOG_APPEND_TIME = 0b1000

/**
 * Decodes the batches of a fetch answer from an offset on. It leaves out control records and aborted transactions. A
 * truncated last batch is left for the next fetch.
 */
export function readBatches(
  bytes: Buffer,
  from: number,
  library: RecordLibrary,
  aborted: readonly AbortedTransaction[],
): ReadRecords {
  const records: StoredRecord[] = []
  const unreadable: { from: number; to: number; error: Error }[] = []
  const transactions = new AbortedTransactions(aborted)
  let nextOffset = from
  for (let start = 0; start + COMMON_HEADER <= bytes.length; ) {
    const end = start + 12 + bytes.readInt32BE(start + 8)
    if (end > bytes.length) break
    const batch = bytes.subarray(start, Math.max(start, end))
    const fault = faultOf(batch, library)
    // No field of a faulty batch can be trusted, not even its offset.
    const first = fault === undefined ? Number(batch.readBigInt64BE(0)) : nextOffset
    const last = fault === undefined ? first + batch.readInt32BE(23) : lastBefore(bytes, end, first, library)
    try {
      if (fault !== undefined) throw new Error(fault)
      if (last >= from && transactions.isWanted(batch, last)) readBatch(batch, first, from, library, records)
    } catch (thrown) {
      unreadable.push({ from: Math.max(first, from), to: last, error: toError(thrown) })
    }
    nextOffset = Math.max(nextOffset, last + 1)
    // The length is invalid, so the next batch cannot be found.
    if (end < start + COMMON_HEADER) break
    start = end
  }
  return { records, nextOffset, unreadable }
}

/** The reason why a batch cannot be trusted; undefined if it can. */
function faultOf(batch: Buffer, { crc32c }: RecordLibrary): string | undefined {
  const format = batch.length < COMMON_HEADER ? FORMAT : batch.readInt8(16)
  if (format !== FORMAT) return `record format ${format} is not supported`
  if (batch.length < BATCH_HEADER) return 'the batch is truncated'
  return crc32c(batch.subarray(21)) >>> 0 === batch.readUInt32BE(17) ? undefined : 'the checksum is wrong'
}

/** The last offset before the next batch. If no valid batch follows, a single offset is skipped. */
function lastBefore(bytes: Buffer, end: number, first: number, library: RecordLibrary): number {
  if (end < COMMON_HEADER || end + COMMON_HEADER > bytes.length) return first
  const next = bytes.subarray(end, end + 12 + bytes.readInt32BE(end + 8))
  return faultOf(next, library) === undefined ? Math.max(first, Number(next.readBigInt64BE(0)) - 1) : first
}

/** Tracks which producers have an aborted transaction at the current offset. */
class AbortedTransactions {
  readonly #coming: AbortedTransaction[]
  readonly #open = new Set<bigint>()

  constructor(aborted: readonly AbortedTransaction[]) {
    this.#coming = aborted.toSorted((a, b) => Number(a.firstOffset - b.firstOffset))
  }

  /** False for control batches and for batches of aborted transactions. */
  isWanted(batch: Buffer, last: number): boolean {
    const attributes = batch.readInt16BE(21)
    if ((attributes & (IS_TRANSACTIONAL | IS_CONTROL)) === 0) return true
    const producerId = batch.readBigInt64BE(43)
    while (this.#coming[0] !== undefined && Number(this.#coming[0].firstOffset) <= last) {
      this.#open.add(this.#coming[0].producerId)
      this.#coming.shift()
    }
    if ((attributes & IS_CONTROL) !== 0) {
      // A control batch is the commit or abort marker that ends the transaction.
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
  const reader = new ByteReader(bytes)
  const baseTime = Number(batch.readBigInt64BE(27))
  const appendTime = (attributes & LOG_APPEND_TIME) === 0 ? undefined : Number(batch.readBigInt64BE(35))
  const count = batch.readInt32BE(57)
  const read: StoredRecord[] = []
  for (let index = 0; index < count; index += 1) {
    const record = readRecord(bytes, reader, first, baseTime, appendTime)
    if (record.offset >= from) read.push(record)
  }
  // Add the records only after all of them were decoded.
  for (const record of read) into.push(record)
}

function readRecord(
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
  const key = reader.bytes()
  const value = reader.bytes()
  const headers = { batch, count: reader.varint(), position: reader.position }
  // Validate every header now, because later access must not fail.
  for (let index = 0; index < 2 * headers.count; index += 1) reader.skip()
  reader.position = end
  return new RecordInBatch({ offset, timestamp, key, value }, headers)
}
