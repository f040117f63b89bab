import type { KafkaReader, KafkaWriter } from '../client/client.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import { writeBatch } from '../wire/record-batch.ts'
import type { Batch, PartitionQueue } from './partition-queue.ts'

export interface PartitionBatch {
  readonly queue: PartitionQueue
  readonly batch: Batch
}

const ACKS: Readonly<Record<string, number>> = { '0': 0, '1': 1, all: -1 }

/** The answer for one partition. */
export interface ProduceResult {
  readonly code: number
  /** The broker's explanation of a refusal; empty if there is none. */
  readonly message: string
}

/**
 * Sends one batch for each of several partitions, in one request.
 *
 * @returns the answers by `topic partition`; undefined with acks '0', which has no answer.
 * @throws ConnectionError if there was no answer.
 */
export async function sendProduce(
  cluster: KafkaCluster,
  options: ResolvedKafkaOptions,
  node: number,
  batches: readonly PartitionBatch[],
): Promise<ReadonlyMap<string, ProduceResult> | undefined> {
  const { library } = cluster
  const acks = ACKS[options.acks] ?? -1
  const request = (sent: readonly PartitionBatch[]) => {
    const writer = library.Writer.create()
    writer.appendString(null).appendInt16(acks).appendInt32(options.requestTimeoutMs)
    writer.appendArray([...byTopic(sent)], (topic, [name, partitions]) => {
      topic.appendString(name).appendArray(partitions, (to, part) => appendBatch(to, part))
    })
    writer.appendTaggedFields()
    if (acks === 0) writer.context['noResponse'] = true
    return writer
  }
  const appendBatch = (writer: KafkaWriter, { queue, batch }: PartitionBatch) => {
    const compression = library.compressionsAlgorithms[options.compressionType]
    const bytes = writeBatch({
      records: batch.records.map(({ record }) => record),
      sequence: batch.sequence,
      compression: compression?.bitmask === 0 ? undefined : compression,
      crc32c: library.crc32c,
      timestamp: Date.now(),
    })
    // The compact form writes the length plus one; 0 is null.
    writer
      .appendInt32(queue.partition)
      .appendUnsignedVarInt(bytes.length + 1)
      .append(bytes)
  }
  return cluster.exchange<ReadonlyMap<string, ProduceResult> | undefined>(
    node,
    'produce',
    (connection, apis) => {
      for (const { queue } of batches) queue.markSent()
      const sent = batches.filter(({ batch }) => batch.records.length > 0)
      if (sent.length === 0) return Promise.resolve(new Map<string, ProduceResult>())
      const { promise, resolve, reject } = Promise.withResolvers<
        ReadonlyMap<string, ProduceResult> | undefined
      >()
      const { key, version } = apis.produce
      connection.send<unknown>(
        key,
        version,
        () => request(sent),
        parseProduce,
        true,
        true,
        (error, results) => {
          if (error !== null) reject(error)
          // With acks '0' the client calls back without an answer.
          else resolve(results instanceof Map ? results : undefined)
        },
      )
      return promise
    },
  )
}

function byTopic(batches: readonly PartitionBatch[]): Map<string, PartitionBatch[]> {
  const topics = new Map<string, PartitionBatch[]>()
  for (const part of batches) {
    const parts = topics.get(part.queue.topic)
    if (parts === undefined) topics.set(part.queue.topic, [part])
    else parts.push(part)
  }
  return topics
}

/** Reads the error codes and messages of the answer. */
function parseProduce(
  _id: number,
  _key: number,
  _version: number,
  reader: KafkaReader,
): Map<string, ProduceResult> {
  const results = new Map<string, ProduceResult>()
  reader.readArray((topic) => {
    const name = readText(topic)
    topic.readArray(
      (partition) => {
        const index = partition.readInt32()
        const code = partition.readInt16()
        for (let field = 0; field < 3; field += 1) partition.readInt64()
        const ofRecords = partition.readArray((record) => [record.readInt32(), readText(record)] as const)
        const message = readText(partition)
        partition.readTaggedFields()
        results.set(`${name} ${index}`, { code, message: ofRecords[0]?.[1] || message })
      },
      true,
      false,
    )
  })
  return results
}

/** A compact nullable string. */
function readText(reader: KafkaReader): string {
  const length = reader.readUnsignedVarInt() - 1
  if (length < 0) return ''
  const text = reader.buffer.slice(reader.position, reader.position + length).toString('utf8')
  reader.skip(length)
  return text
}
