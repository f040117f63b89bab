import { toError } from '../errors.ts'
import type { KafkaCompression } from './kafka-client.ts'

/** A record as it stands in the log. */
export interface StoredRecord {
  readonly offset: number
  /** Milliseconds since 1970. */
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly (readonly [name: Buffer | null, value: Buffer | null])[]
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

const BATCH_HEADER = 61
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
  codecs: Readonly<Record<number, KafkaCompression>>,
  aborted: readonly AbortedTransaction[],
): ReadRecords {
  const records: StoredRecord[] = []
  const unreadable: { from: number; to: number; error: Error }[] = []
  const transactions = new OpenAborts(aborted)
  let nextOffset = from
  for (let start = 0; start + BATCH_HEADER <= bytes.length; ) {
    const end = start + 12 + bytes.readInt32BE(start + 8)
    if (end > bytes.length) break
    const batch = bytes.subarray(start, end)
    const first = Number(batch.readBigInt64BE(0))
    const last = first + batch.readInt32BE(23)
    if (last >= from && transactions.isWanted(batch, last)) {
      try {
        readBatch(batch, first, from, codecs, records)
      } catch (thrown) {
        unreadable.push({ from: Math.max(first, from), to: last, error: toError(thrown) })
      }
    }
    nextOffset = Math.max(nextOffset, last + 1)
    start = end
  }
  return { records, nextOffset, unreadable }
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
  codecs: Readonly<Record<number, KafkaCompression>>,
  into: StoredRecord[],
): void {
  const magic = batch.readInt8(16)
  if (magic !== 2) throw new Error(`record format ${magic} is not supported`)
  const attributes = batch.readInt16BE(21)
  const codec = attributes & CODEC
  const body = batch.subarray(BATCH_HEADER)
  const algorithm = codecs[codec]
  if (codec !== 0 && algorithm?.available !== true) throw new Error(`unknown compression ${codec}`)
  const cursor = new Cursor(codec === 0 || algorithm === undefined ? body : algorithm.decompressSync(body))
  const baseTime = Number(batch.readBigInt64BE(27))
  const appendTime = (attributes & LOG_APPEND_TIME) === 0 ? undefined : Number(batch.readBigInt64BE(35))
  const count = batch.readInt32BE(57)
  const read: StoredRecord[] = []
  for (let index = 0; index < count; index += 1) {
    const record = readRecord(cursor, first, baseTime, appendTime)
    if (record.offset >= from) read.push(record)
  }
  // All or none of a batch.
  for (const record of read) into.push(record)
}

function readRecord(
  cursor: Cursor,
  first: number,
  baseTime: number,
  appendTime: number | undefined,
): StoredRecord {
  const length = cursor.varint()
  const end = cursor.position + length
  cursor.position += 1
  const timestamp = appendTime ?? baseTime + cursor.varlong()
  if (appendTime !== undefined) cursor.varlong()
  const offset = first + cursor.varint()
  const key = cursor.bytes()
  const value = cursor.bytes()
  const headerCount = cursor.varint()
  const headers: [Buffer | null, Buffer | null][] = []
  for (let index = 0; index < headerCount; index += 1) headers.push([cursor.bytes(), cursor.bytes()])
  cursor.position = end
  return { offset, timestamp, key, value, headers }
}

class Cursor {
  readonly #bytes: Buffer
  position = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  varint(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.#next()
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return (value >>> 1) ^ -(value & 1)
    }
    throw new Error('a number in a record is too long')
  }

  /** A number of up to 64 bits; exact to 2^53, which is enough for times. */
  varlong(): number {
    let value = 0
    let scale = 1
    for (let index = 0; index < 10; index += 1) {
      const byte = this.#next()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2
      scale *= 128
    }
    throw new Error('a number in a record is too long')
  }

  bytes(): Buffer | null {
    const length = this.varint()
    if (length < 0) return null
    const start = this.position
    const end = start + length
    if (end > this.#bytes.length) throw new Error('a record is cut off')
    this.position = end
    return this.#bytes.subarray(start, end)
  }

  #next(): number {
    const byte = this.#bytes[this.position]
    if (byte === undefined) throw new Error('a record is cut off')
    this.position += 1
    return byte
  }
}
