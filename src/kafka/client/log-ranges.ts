import { ConnectionError } from '../../transport/errors.ts'
import { CODE, refusal } from '../errors.ts'
import type { KafkaCluster } from './cluster.ts'
import { partitionKey, type TopicPartition } from './topic-partition.ts'
import type { KafkaTopicDirectory } from './topics.ts'

const LATEST = -1n
const EARLIEST = -2n

/** The offsets that the log of a partition holds. */
export interface LogRange {
  readonly start: number
  /** The offset of the next record to be written. */
  readonly end: number
}

/** Reads the log ranges from the leaders, by partition key. @throws ConnectionError */
export async function logRanges(
  cluster: KafkaCluster,
  topics: KafkaTopicDirectory,
  partitions: readonly TopicPartition[],
): Promise<ReadonlyMap<string, LogRange>> {
  const [starts, ends] = await Promise.all([
    listOffsets(cluster, topics, partitions, EARLIEST),
    listOffsets(cluster, topics, partitions, LATEST),
  ])
  const ranges = new Map<string, LogRange>()
  for (const [key, start] of starts) ranges.set(key, { start, end: ends.get(key) ?? start })
  return ranges
}

/**
 * By partition key, the first offset whose record has this timestamp, in milliseconds, or a later one; -1 if there is none.
 * @throws ConnectionError
 */
export function offsetsAt(
  cluster: KafkaCluster,
  topics: KafkaTopicDirectory,
  partitions: readonly TopicPartition[],
  timestamp: bigint,
): Promise<ReadonlyMap<string, number>> {
  return listOffsets(cluster, topics, partitions, timestamp)
}

async function listOffsets(
  cluster: KafkaCluster,
  topics: KafkaTopicDirectory,
  partitions: readonly TopicPartition[],
  timestamp: bigint,
): Promise<ReadonlyMap<string, number>> {
  const byNode = Map.groupBy(partitions, ({ topic, index }) => topics.cached(topic)?.leaders[index] ?? -1)
  const found = new Map<string, number>()
  await Promise.all(
    [...byNode].map(async ([node, led]) => {
      if (node < 0)
        throw new ConnectionError('CONNECTION_FAILED', `${led[0]?.topic} has no leader at present.`)
      const requests = [...Map.groupBy(led, ({ topic }) => topic)].map(([name, ofTopic]) => ({
        name,
        partitions: ofTopic.map(({ index }) => ({
          partitionIndex: index,
          currentLeaderEpoch: -1,
          timestamp,
        })),
      }))
      const answer = await cluster.request(node, 'control', ({ listOffsets }) => listOffsets, [
        -1,
        1,
        requests,
      ])
      for (const { name, partitions: results } of answer.topics) {
        for (const { partitionIndex, errorCode, offset } of results) {
          if (errorCode !== CODE.NONE)
            throw refusal(cluster.address, `Reading the offsets of ${name}`, errorCode)
          if (!Number.isSafeInteger(Number(offset))) {
            throw new ConnectionError(
              'CONNECTION_FAILED',
              `Kafka at ${cluster.address} reports the impossible offset ${offset} for ${name}.`,
            )
          }
          found.set(partitionKey({ topic: name, index: partitionIndex }), Number(offset))
        }
      }
    }),
  )
  return found
}
