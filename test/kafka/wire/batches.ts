import { loadKafka } from '../../../src/kafka/client/client.ts'
import { type RecordToWrite, writeBatch } from '../../../src/kafka/wire/record-batch.ts'

const library = await loadKafka()

export interface BatchLook {
  readonly offset?: number
  readonly codec?: 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'
  readonly producerId?: bigint
  /** Attribute bits that only brokers and transactions set. */
  readonly attributes?: number
}

export const BATCH_TIME = 1_765_627_200_123

/** A batch in the log, with the offset that the broker assigned. */
export function storedBatch(records: readonly RecordToWrite[], look: BatchLook = {}): Buffer {
  const { offset = 0, codec = 'none', producerId, attributes = 0 } = look
  const batch = writeBatch({
    records,
    sequence: producerId === undefined ? undefined : { producerId, producerEpoch: 3, first: 9 },
    compression: codec === 'none' ? undefined : library.compressionsAlgorithms[codec],
    crc32c: library.crc32c,
    timestamp: BATCH_TIME,
  })
  batch.writeBigInt64BE(BigInt(offset), 0)
  batch.writeInt16BE(batch.readInt16BE(21) | attributes, 21)
  return signedBatch(batch)
}

/** A batch with any content. */
export function batchAround(
  content: Buffer,
  { offset, codec, count }: { readonly offset: number; readonly codec: number; readonly count: number },
): Buffer {
  const header = storedBatch([], { offset })
  const batch = Buffer.concat([header.subarray(0, 61), content])
  batch.writeInt32BE(batch.length - 12, 8)
  batch.writeInt16BE(codec, 21)
  batch.writeInt32BE(Math.max(0, count - 1), 23)
  batch.writeInt32BE(count, 57)
  return signedBatch(batch)
}

/** Recomputes the checksum of a changed batch. */
export function signedBatch(batch: Buffer): Buffer {
  batch.writeUInt32BE(library.crc32c(batch.subarray(21)) >>> 0, 17)
  return batch
}
