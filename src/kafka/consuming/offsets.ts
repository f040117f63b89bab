import { ConnectionError } from '../../bus/errors.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import type { KafkaCoordinator } from '../client/coordinator.ts'
import type { KafkaTopicDirectory } from '../client/topics.ts'
import { CODE, nameOf, refusal } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import { type PartitionProgress, readProgress } from '../wire/progress.ts'
import { keyOf, type MemberIdentity, type Place } from './membership.ts'

const LATEST = -1n
const EARLIEST = -2n

/** Where a group has got to in a partition. */
export interface CommittedOffset {
  readonly offset: number
  readonly progress: PartitionProgress
}

/** The first and the last offset there is of each partition of a topic; the last is the next to be written. */
export interface LogRange {
  readonly start: number
  readonly end: number
}

/** Asks for committed offsets; a partition that the group never committed is not in the answer. @throws ConnectionError */
export async function committedOffsets(
  cluster: KafkaCluster,
  coordinator: KafkaCoordinator,
  group: string,
  member: MemberIdentity | undefined,
  places: readonly Place[],
): Promise<ReadonlyMap<string, CommittedOffset>> {
  const topics = [...Map.groupBy(places, ({ topic }) => topic)].map(([name, of]) => ({
    name,
    partitionIndexes: of.map(({ index }) => index),
  }))
  const request = {
    groupId: group,
    memberId: member?.memberId ?? null,
    memberEpoch: member?.generation ?? -1,
    topics,
  }
  const { groups } = await coordinator.request('commit', cluster.session.apis.offsetFetch, [[request], true])
  const answer = groups[0]
  coordinator.heed(answer?.errorCode ?? CODE.NONE)
  const committed = new Map<string, CommittedOffset>()
  for (const { name, partitions } of answer?.topics ?? []) {
    for (const { partitionIndex, committedOffset, metadata, errorCode } of partitions) {
      if (errorCode !== CODE.NONE)
        throw refusal(cluster.address, `Reading the offsets of ${group}`, errorCode)
      const offset = Number(committedOffset)
      if (offset < 0) continue
      committed.set(keyOf({ topic: name, index: partitionIndex }), {
        offset,
        progress: readProgress(offset, metadata),
      })
    }
  }
  if (answer !== undefined && answer.errorCode === CODE.NONE) return committed
  throw new ConnectionError(
    'CONNECTION_FAILED',
    `The offsets of ${group} cannot be read now (${nameOf(answer?.errorCode ?? CODE.COORDINATOR_NOT_AVAILABLE)}).`,
  )
}

/** Asks the leaders where the logs begin and end. @throws ConnectionError */
export async function logRanges(
  cluster: KafkaCluster,
  topics: KafkaTopicDirectory,
  places: readonly Place[],
): Promise<ReadonlyMap<string, LogRange>> {
  const [starts, ends] = await Promise.all([
    listOffsets(cluster, topics, places, EARLIEST),
    listOffsets(cluster, topics, places, LATEST),
  ])
  const ranges = new Map<string, LogRange>()
  for (const [key, start] of starts) ranges.set(key, { start, end: ends.get(key) ?? start })
  return ranges
}

/** Records of the stream that the group has not committed; undefined when there is no such topic. @throws ConnectionError */
export async function groupLag(
  cluster: KafkaCluster,
  topics: KafkaTopicDirectory,
  coordinator: KafkaCoordinator,
  { consumerGroup, topics: names }: ResolvedKafkaOptions,
): Promise<number | undefined> {
  const topic = await topics.look(names.stream)
  if (topic === undefined) return undefined
  const places = topic.leaders.map((_leader, index) => ({ topic: topic.name, index }))
  const [committed, ranges] = await Promise.all([
    committedOffsets(cluster, coordinator, consumerGroup, undefined, places),
    logRanges(cluster, topics, places),
  ])
  const waiting = [...ranges].map(([key, { start, end }]) => end - (committed.get(key)?.offset ?? start))
  return waiting.reduce((sum, count) => sum + Math.max(0, count), 0)
}

async function listOffsets(
  cluster: KafkaCluster,
  topics: KafkaTopicDirectory,
  places: readonly Place[],
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
          found.set(keyOf({ topic: name, index: partitionIndex }), Number(offset))
        }
      }
    }),
  )
  return found
}
