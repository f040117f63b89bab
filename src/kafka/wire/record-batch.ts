import type { KafkaCompression } from './compression.ts'

/** Bytes, or a text that is written as UTF-8. */
export type RecordBytes = string | Uint8Array

/** A record to append to the log. Null and empty are different. */
export interface RecordToWrite {
  readonly key: RecordBytes | null
  readonly value: RecordBytes | null
  readonly headers: readonly (readonly [name: RecordBytes, value: RecordBytes | null])[]
}

/** Identifies a batch and its producer, so that the broker recognizes a batch that it already has. */
export interface BatchSequence {
  readonly producerId: bigint
  readonly producerEpoch: number
  readonly first: number
}

export interface BatchParts {
  readonly records: readonly RecordToWrite[]
  readonly sequence: BatchSequence | undefined
  readonly compression: KafkaCompression | undefined
  readonly crc32c: (bytes: Buffer) => number
  readonly timestamp: number
}

const BATCH_HEADER = 61
/** Attributes, a time delta of 0, and at most 5 bytes each for the offset delta and the length. */
const RECORD_OVERHEAD = 12

/** Upper bound of a record's size in a batch, in bytes, uncompressed. */
export function sizeOfRecord({ key, value, headers }: RecordToWrite): number {
  let size = RECORD_OVERHEAD + 5 + sizeOfBytes(key) + sizeOfBytes(value)
  for (const [name, text] of headers) size += sizeOfBytes(name) + sizeOfBytes(text)
  return size
}

function sizeOfBytes(bytes: RecordBytes | null): number {
  if (bytes === null) return 1
  const length = lengthOf(bytes)
  return length + sizeOfVarint(length)
}

/** Encodes a record batch of format 2 (https://kafka.apache.org/documentation/#recordbatch). */
export function writeBatch(parts: BatchParts): Buffer {
  const { records, compression } = parts
  let size = 0
  for (const record of records) size += sizeOfRecord(record)
  const writer = new RecordWriter(Buffer.allocUnsafe(BATCH_HEADER + size), BATCH_HEADER)
  for (const [offsetDelta, record] of records.entries()) writer.write(record, offsetDelta)
  const batch =
    compression === undefined
      ? writer.written
      : Buffer.concat([
          writer.written.subarray(0, BATCH_HEADER),
          compression.compressSync(writer.written.subarray(BATCH_HEADER)),
        ])
  return writeHeader(batch, parts)
}

function writeHeader(
  batch: Buffer,
  { records, sequence, compression, crc32c, timestamp }: BatchParts,
): Buffer {
  const time = BigInt(timestamp)
  batch.writeBigInt64BE(0n, 0)
  batch.writeInt32BE(batch.length - 12, 8)
  batch.writeInt32BE(-1, 12)
  batch.writeInt8(2, 16)
  batch.writeInt16BE(compression?.bitmask ?? 0, 21)
  batch.writeInt32BE(records.length - 1, 23)
  batch.writeBigInt64BE(time, 27)
  batch.writeBigInt64BE(time, 35)
  batch.writeBigInt64BE(sequence?.producerId ?? -1n, 43)
  batch.writeInt16BE(sequence?.producerEpoch ?? -1, 51)
  batch.writeInt32BE(sequence?.first ?? -1, 53)
  batch.writeInt32BE(records.length, 57)
  batch.writeUInt32BE(crc32c(batch.subarray(21)) >>> 0, 17)
  return batch
}

class RecordWriter {
  readonly #buffer: Buffer
  #position: number

  constructor(buffer: Buffer, position: number) {
    this.#buffer = buffer
    this.#position = position
  }

  get written(): Buffer {
    return this.#buffer.subarray(0, this.#position)
  }

  write({ key, value, headers }: RecordToWrite, offsetDelta: number): void {
    let length =
      2 + sizeOfVarint(offsetDelta) + sizeOfBytes(key) + sizeOfBytes(value) + sizeOfVarint(headers.length)
    for (const [name, text] of headers) length += sizeOfBytes(name) + sizeOfBytes(text)
    this.#varint(length)
    this.#buffer[this.#position++] = 0
    this.#buffer[this.#position++] = 0
    this.#varint(offsetDelta)
    this.#bytes(key)
    this.#bytes(value)
    this.#varint(headers.length)
    for (const [name, text] of headers) {
      this.#bytes(name)
      this.#bytes(text)
    }
  }

  #bytes(bytes: RecordBytes | null): void {
    if (bytes === null) {
      this.#buffer[this.#position++] = 1
      return
    }
    this.#varint(lengthOf(bytes))
    if (typeof bytes === 'string') this.#position += this.#buffer.write(bytes, this.#position, 'utf8')
    else {
      this.#buffer.set(bytes, this.#position)
      this.#position += bytes.length
    }
  }

  /** Writes a non-negative number in zigzag encoding. */
  #varint(value: number): void {
    let rest = value * 2
    while (rest > 0x7f) {
      this.#buffer[this.#position++] = (rest & 0x7f) | 0x80
      rest = Math.floor(rest / 128)
    }
    this.#buffer[this.#position++] = rest
  }
}

function lengthOf(bytes: RecordBytes): number {
  return typeof bytes === 'string' ? Buffer.byteLength(bytes) : bytes.length
}

function sizeOfVarint(value: number): number {
  if (value < 64) return 1
  if (value < 8192) return 2
  if (value < 1_048_576) return 3
  return value < 134_217_728 ? 4 : 5
}
