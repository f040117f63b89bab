import { ConnectionError } from '../../transport/errors.ts'
import { CODE, refusal } from '../errors.ts'
import type { KafkaCluster } from './cluster.ts'
import { partitionKey, type TopicPartition } from './topic-partition.ts'
import type { KafkaTopicDirectory } from './topics.ts'

const LATEST = -1n
const EARLIEST = -2n

/** The first and the last offset there is of each partition of a topic; the last is the next to be written. */
export interface LogRange {
  readonly start: number
  readonly end: number
}

/** Asks the leaders where the logs begin and end. @throws ConnectionError */
export async function logRanges(
  cluster: KafkaCluster,
  topics: KafkaTopicDirectory,
  places: readonly TopicPartition[],
): Promise<ReadonlyMap<string, LogRange>> {
  const [starts, ends] = await Promise.all([
    listOffsets(cluster, topics, places, EARLIEST),
    listOffsets(cluster, topics, places, LATEST),
  ])
  const ranges = new Map<string, LogRange>()
  for (const [key, start] of starts) ranges.set(key, { start, end: ends.get(key) ?? start })
  return ranges
}

async function listOffsets(
  cluster: KafkaCluster,
  topics: KafkaTopicDirectory,
  places: readonly TopicPartition[],
  timestamp: bigint,
): Promise<ReadonlyMap<string, number>> {
  const byNode = Map.groupBy(places, ({ topic, index }) => topics.known(topic)?.leaders[index] ?? -1)
  const found = new Map<string, number>()
  await Promise.all(
    [...byNode].map(async ([node, of]) => {
      if (node < 0)
        throw new ConnectionError('CONNECTION_FAILED', `${of[0]?.topic} has no leader at the moment.`)
      const requests = [...Map.groupBy(of, ({ topic }) => topic)].map(([name, parts]) => ({
        name,
        partitions: parts.map(({ index }) => ({ partitionIndex: index, currentLeaderEpoch: -1, timestamp })),
      }))
      const answer = await cluster.request(node, 'control', cluster.session.apis.listOffsets, [
        -1,
        1,
        requests,
      ])
      for (const { name, partitions } of answer.topics) {
        for (const { partitionIndex, errorCode, offset } of partitions) {
          if (errorCode !== CODE.NONE)
            throw refusal(cluster.address, `Reading the offsets of ${name}`, errorCode)
          found.set(partitionKey({ topic: name, index: partitionIndex }), Number(offset))
        }
      }
    }),
  )
  return found
}
