import { CODE } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import {
  type AbortedTransaction,
  type BatchLimits,
  type ReadRecords,
  readBatches,
} from '../wire/record-reader.ts'
import type { KafkaApis } from './apis.ts'
import type { ConnectionUse } from './broker-connection.ts'
import type { KafkaReader } from './client.ts'
import type { KafkaCluster } from './cluster.ts'

/** Where to read a partition. */
export interface FetchRange {
  readonly topicId: string
  readonly index: number
  readonly offset: number
  /** Decoding ends when all offsets before this one were read. Default: with the answer. */
  readonly until?: number
  /** Epoch of the leader that wrote the record before the offset, if known: the broker compares it with its log. */
  readonly lastEpoch?: number | undefined
  /** Bytes to request. Default: `maxBytes`. */
  readonly maxBytes?: number
}

/** The records and state of one partition in an answer. */
export interface FetchedRange extends ReadRecords {
  readonly topicId: string
  readonly index: number
  readonly errorCode: number
  readonly logStart: number
  readonly highWatermark: number
  /** The offset from which on the log has other records than those read before (KIP-595); undefined if it has not. */
  readonly divergesAt: number | undefined
}

export interface FetchLimits {
  readonly maxWaitMs: number
  /** Size limit of one partition's records. A broker exceeds it for a single batch. */
  readonly maxBytes: number
  /** Size limit of the whole answer. A broker exceeds it for a single batch. */
  readonly maxAnswerBytes: number
  readonly timeoutMs: number
  readonly use: ConnectionUse
  /** Bytes of contents to decode. The rest of the answer is left for the next fetch. Default: no limit. */
  readonly decode?: { readonly perRange: number; readonly total: number }
  readonly options: BatchLimits & Pick<ResolvedKafkaOptions, 'maxResponseBytes'>
}

const READ_COMMITTED = 1
/** Size limit of a whole answer, as a multiple of one partition's limit. */
const PARTITIONS_PER_ANSWER = 16

/** Reads several partitions from one broker. @throws ConnectionError */
export async function fetchRanges(
  cluster: KafkaCluster,
  node: number,
  ranges: readonly FetchRange[],
  { maxWaitMs, maxBytes, maxAnswerBytes, timeoutMs, use, options, decode }: FetchLimits,
): Promise<readonly FetchedRange[]> {
  const { library } = cluster
  const wanted = new Map(ranges.map((range) => [`${range.topicId} ${range.index}`, range]))
  const request = (apis: KafkaApis) => () =>
    apis.createFetchRequest(
      maxWaitMs,
      1,
      Math.min(maxBytes * PARTITIONS_PER_ANSWER, maxAnswerBytes, Math.ceil(options.maxResponseBytes / 2)),
      READ_COMMITTED,
      0,
      -1,
      topicsOf(ranges, maxBytes),
      [],
      '',
    )
  const parse = (_id: number, _key: number, _version: number, reader: KafkaReader) => parseFetch(reader)
  const answer = await cluster.exchange(
    node,
    use,
    (connection, apis) => {
      const { promise, resolve, reject } = Promise.withResolvers<readonly RawRange[]>()
      const { key, version } = apis.fetch
      connection.send(key, version, request(apis), parse, true, true, (error, answer) => {
        if (error !== null) reject(error)
        else resolve(answer)
      })
      return promise
    },
    maxWaitMs + timeoutMs,
  )
  const fetched: FetchedRange[] = []
  const { perRange = Number.POSITIVE_INFINITY, total = Number.POSITIVE_INFINITY } = decode ?? {}
  let left = total
  for (const { bytes, aborted, ...range } of answer) {
    const { offset: from, until } = wanted.get(`${range.topicId} ${range.index}`) ?? {}
    if (from === undefined) continue
    // Without room, one partition gets one batch, and the others their turn in later fetches.
    if (left <= 0 && fetched.some(({ records }) => records.length > 0)) continue
    // Not in the parser of the client: decoding takes several slices.
    const end = range.errorCode === CODE.NONE ? range.highWatermark : 0
    const context = {
      enoughBytes: Math.max(1, Math.min(perRange, left)),
      end: Number.isSafeInteger(end) ? end : 0,
      until,
      crc32c: library.crc32c,
      limits: options,
      aborted,
    }
    const read = await readBatches(bytes, from, context)
    left -= read.contentBytes
    fetched.push({ ...range, ...read })
  }
  return fetched
}

function topicsOf(ranges: readonly FetchRange[], maxBytes: number) {
  const byTopic = new Map<string, FetchRange[]>()
  for (const range of ranges) byTopic.set(range.topicId, [...(byTopic.get(range.topicId) ?? []), range])
  return [...byTopic].map(([topicId, partitions]) => ({
    topicId,
    partitions: partitions.map(({ index, offset, lastEpoch = -1, maxBytes: wanted = maxBytes }) => ({
      partition: index,
      currentLeaderEpoch: -1,
      fetchOffset: BigInt(offset),
      lastFetchedEpoch: lastEpoch,
      partitionMaxBytes: wanted,
    })),
  }))
}

interface RawRange {
  readonly topicId: string
  readonly index: number
  readonly errorCode: number
  readonly logStart: number
  readonly highWatermark: number
  readonly divergesAt: number | undefined
  readonly aborted: readonly AbortedTransaction[]
  readonly bytes: Buffer
}

/** Decodes an answer: versions 13 to 17 differ only in tagged fields. */
export function parseFetch(reader: KafkaReader): readonly RawRange[] {
  const ranges: RawRange[] = []
  reader.readInt32()
  const errorCode = reader.readInt16()
  reader.readInt32()
  reader.readArray((topic) => {
    const topicId = topic.readUUID()
    topic.readArray(
      (partition) => {
        ranges.push(parsePartition(partition, topicId, errorCode))
      },
      true,
      false,
    )
  })
  return ranges
}

function parsePartition(reader: KafkaReader, topicId: string, answerCode: number): RawRange {
  const index = reader.readInt32()
  const code = reader.readInt16()
  const highWatermark = Number(reader.readInt64())
  reader.readInt64()
  const logStart = Number(reader.readInt64())
  const aborted =
    reader.readNullableArray((entry) => ({
      producerId: entry.readInt64(),
      firstOffset: entry.readInt64(),
    })) ?? []
  reader.readInt32()
  // The compact form writes the length plus one; 0 is null.
  const size = Math.max(0, reader.readUnsignedVarInt() - 1)
  const bytes = reader.buffer.slice(reader.position, reader.position + size)
  reader.skip(size)
  const divergesAt = readDivergence(reader)
  return {
    topicId,
    index,
    errorCode: answerCode === 0 ? code : answerCode,
    logStart,
    highWatermark,
    divergesAt,
    aborted,
    bytes,
  }
}

/** Reads the tagged fields of a partition. The first one is the epoch and the end offset at which the log diverges. */
function readDivergence(reader: KafkaReader): number | undefined {
  let divergesAt: number | undefined
  const count = reader.readUnsignedVarInt()
  for (let index = 0; index < count; index += 1) {
    const tag = reader.readUnsignedVarInt()
    const size = reader.readUnsignedVarInt()
    const start = reader.position
    if (tag === 0 && reader.readInt32() >= 0) divergesAt = Number(reader.readInt64())
    reader.skip(start + size - reader.position)
  }
  return divergesAt
}
