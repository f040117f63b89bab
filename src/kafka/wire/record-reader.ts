import { toError } from '../../errors.ts'
import { Slices } from '../../kit/slices.ts'
import { ByteReader } from './byte-reader.ts'
import { decompress } from './decompression.ts'
import { TooLargeError } from './output.ts'
import { readRecord, type StoredRecord } from './stored-record.ts'

/** Offsets whose batch cannot be read. */
export interface UnreadableRange {
  readonly from: number
  readonly to: number
  /** Size of the batch in the log. */
  readonly sizeBytes: number
  readonly error: Error
}

/** A leader of this epoch wrote the records from an offset on. */
export interface EpochStart {
  readonly from: number
  readonly epoch: number
}

/** The records of a range of a log. */
export interface ReadRecords {
  readonly records: readonly StoredRecord[]
  /** The offset after the last batch that was read. */
  readonly nextOffset: number
  /** Ranges that were skipped. */
  readonly unreadable: readonly UnreadableRange[]
  /** Why the answer cannot be true; undefined if it can. Nothing was read from there on. */
  readonly impossible: string | undefined
  /** The epochs of the leaders that wrote the batches, one for each change. */
  readonly epochs: readonly EpochStart[]
  /** Bytes of the batches that were read, and of their contents. */
  readonly readBytes: number
  readonly contentBytes: number
}

/** Limits of one record batch, checked before the memory for its content is allocated. */
export interface BatchLimits {
  /** Bytes of its records, decompressed. */
  readonly maxBatchBytes: number
  readonly maxBatchRecords: number
}

export interface AbortedTransaction {
  readonly producerId: bigint
  readonly firstOffset: bigint
}

/** The values that reading needs in addition to the bytes. */
export interface ReadContext {
  /** The end of the log, as the broker reports it: no record has this offset, or a later one. */
  readonly end: number
  /** Reading ends when all offsets before this one were read. Default: with the bytes. */
  readonly until?: number | undefined
  readonly crc32c: (bytes: Buffer) => number
  readonly limits: BatchLimits
  /** Reading ends after the batch with which the contents reach this number of bytes. */
  readonly enoughBytes: number
  readonly aborted: readonly AbortedTransaction[]
}

const BATCH_HEADER = 61
/** Offset, length, leader epoch and format, which all formats have in common. */
const COMMON_HEADER = 17
const FORMAT = 2
const NO_EPOCH = -1
const CODEC = 0b111
const IS_TRANSACTIONAL = 0b1_0000
const IS_CONTROL = 0b10_0000
const LOG_APPEND_TIME = 0b1000
/** Length, attributes, time, offset, key, value and header count take a byte each at least. */
const MIN_RECORD = 7
const RECORDS_PER_CHECK = 256

/**
 * Decodes the batches of a fetch response from an offset on, in slices. It omits control records and aborted
 * transactions. A truncated last batch is left for the next fetch.
 */
export async function readBatches(bytes: Buffer, from: number, context: ReadContext): Promise<ReadRecords> {
  const records: StoredRecord[] = []
  const unreadable: UnreadableRange[] = []
  const transactions = new AbortedTransactions(context.aborted)
  const slices = new Slices()
  const { until = Number.POSITIVE_INFINITY } = context
  let nextOffset = from
  let impossible: string | undefined
  const epochs: EpochStart[] = []
  let readBytes = 0
  let contentBytes = 0
  for (let start = 0; start + COMMON_HEADER <= bytes.length; ) {
    const end = start + 12 + bytes.readInt32BE(start + 8)
    if (end > bytes.length || contentBytes >= context.enoughBytes || nextOffset >= until) break
    const batch = bytes.subarray(start, Math.max(start, end))
    const fault = faultOf(batch, context)
    // No field of a faulty batch can be trusted, not even its offset.
    const first = fault === undefined ? Number(batch.readBigInt64BE(0)) : nextOffset
    const last = fault === undefined ? first + batch.readInt32BE(23) : lastBefore(bytes, end, first, context)
    const isBack = nextOffset > from && first < nextOffset
    if (first < 0 || last < first || last >= context.end || isBack) {
      impossible = `it holds the offsets ${first} to ${last} of a log that ends at ${context.end}`
      break
    }
    try {
      if (fault !== undefined) throw new Error(fault)
      if (last >= from && transactions.isWanted(batch, last)) {
        const read = await readBatch(batch, { first, from, limits: context.limits, slices })
        for (const record of read.records) records.push(record)
        contentBytes += read.contentBytes
      }
    } catch (thrown) {
      const range = { from: Math.max(first, from), to: last, sizeBytes: batch.length }
      unreadable.push({ ...range, error: toError(thrown) })
    }
    const epoch = fault === undefined ? batch.readInt32BE(12) : NO_EPOCH
    if (epoch !== NO_EPOCH && epoch !== epochs.at(-1)?.epoch) epochs.push({ from: nextOffset, epoch })
    nextOffset = Math.max(nextOffset, last + 1)
    readBytes += batch.length
    // The length is invalid, so the next batch cannot be found.
    if (end < start + COMMON_HEADER) break
    start = end
    if (slices.isOver) await slices.next()
  }
  // A broker sends the first batch whole. Without this check, the same answer would be requested again and again.
  if (nextOffset === from && bytes.length > 0) impossible ??= `it holds no record from offset ${from} on`
  return { records, nextOffset, unreadable, impossible, epochs, readBytes, contentBytes }
}

/** The reason why a batch cannot be trusted; undefined if it can. */
function faultOf(batch: Buffer, { crc32c }: Pick<ReadContext, 'crc32c'>): string | undefined {
  const format = batch.length < COMMON_HEADER ? FORMAT : batch.readInt8(16)
  if (format !== FORMAT) return `record format ${format} is not supported`
  if (batch.length < BATCH_HEADER) return 'the batch is truncated'
  return crc32c(batch.subarray(21)) >>> 0 === batch.readUInt32BE(17) ? undefined : 'the checksum is wrong'
}

/** The last offset before the next batch. If no valid batch follows, a single offset is skipped. */
function lastBefore(bytes: Buffer, end: number, first: number, context: ReadContext): number {
  if (end < COMMON_HEADER || end + COMMON_HEADER > bytes.length) return first
  const next = bytes.subarray(end, end + 12 + bytes.readInt32BE(end + 8))
  if (faultOf(next, context) !== undefined) return first
  return Math.max(first, Math.min(Number(next.readBigInt64BE(0)), context.end) - 1)
}

/** Tracks which producers have an aborted transaction at the current offset. */
class AbortedTransactions {
  readonly #coming: readonly AbortedTransaction[]
  /** Number of those that have started. */
  #begun = 0
  readonly #open = new Set<bigint>()

  constructor(aborted: readonly AbortedTransaction[]) {
    this.#coming = aborted.toSorted((a, b) => Number(a.firstOffset - b.firstOffset))
  }

  /** False for control batches and for batches of aborted transactions. */
  isWanted(batch: Buffer, last: number): boolean {
    const attributes = batch.readInt16BE(21)
    if ((attributes & (IS_TRANSACTIONAL | IS_CONTROL)) === 0) return true
    const producerId = batch.readBigInt64BE(43)
    for (let next = this.#coming[this.#begun]; next !== undefined; next = this.#coming[this.#begun]) {
      if (Number(next.firstOffset) > last) break
      this.#open.add(next.producerId)
      this.#begun += 1
    }
    if ((attributes & IS_CONTROL) !== 0) {
      // A control batch is the commit or abort marker that ends the transaction.
      this.#open.delete(producerId)
      return false
    }
    return !this.#open.has(producerId)
  }
}

interface BatchPosition {
  readonly first: number
  /** Records before this offset are omitted. */
  readonly from: number
  readonly limits: BatchLimits
  readonly slices: Slices
}

/** Decodes the records of a batch. It returns all or none. */
async function readBatch(
  batch: Buffer,
  { first, from, limits, slices }: BatchPosition,
): Promise<Pick<ReadRecords, 'records' | 'contentBytes'>> {
  const attributes = batch.readInt16BE(21)
  const count = batch.readInt32BE(57)
  if (count > limits.maxBatchRecords) {
    throw new TooLargeError(`the batch declares ${count} records, more than ${limits.maxBatchRecords}`)
  }
  const bytes = await contentOf(batch, attributes & CODEC, limits.maxBatchBytes)
  if (count < 0 || count * MIN_RECORD > bytes.length) {
    throw new Error(`the batch declares ${count} records in ${bytes.length} bytes`)
  }
  const reader = new ByteReader(bytes)
  const baseTime = Number(batch.readBigInt64BE(27))
  const appendTime = (attributes & LOG_APPEND_TIME) === 0 ? undefined : Number(batch.readBigInt64BE(35))
  const last = first + batch.readInt32BE(23)
  const records: StoredRecord[] = []
  let previous = first - 1
  for (let index = 0; index < count; index += 1) {
    const record = readRecord(bytes, reader, first, baseTime, appendTime)
    if (record.offset <= previous || record.offset > last)
      throw new Error('the offsets of the records are wrong')
    previous = record.offset
    if (record.offset >= from) records.push(record)
    if (index % RECORDS_PER_CHECK === 0 && slices.isOver) await slices.next()
  }
  return { records, contentBytes: bytes.length }
}

function contentOf(batch: Buffer, codec: number, maxBytes: number): Buffer | Promise<Buffer> {
  const content = batch.subarray(BATCH_HEADER)
  if (codec !== 0) return decompress(codec, content, maxBytes)
  if (content.length <= maxBytes) return content
  throw new TooLargeError(`the content has ${content.length} bytes, more than ${maxBytes}`)
}
