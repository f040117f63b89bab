import { ConnectionError } from '../../transport/errors.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import type { KafkaCoordinator } from '../client/coordinator.ts'
import { type LogRange, logRanges } from '../client/log-ranges.ts'
import { partitionKey, partitionsOf, type TopicPartition } from '../client/topic-partition.ts'
import type { KafkaTopicDirectory } from '../client/topics.ts'
import { CODE, nameOf, refusal } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import { type PartitionProgress, readProgress } from '../wire/progress.ts'
import type { MemberIdentity } from './membership.ts'

/** The committed offset of a group in a partition, and the group's progress beyond it. */
export interface CommittedOffset {
  readonly offset: number
  readonly progress: PartitionProgress
  /** Epoch of the leader that wrote the record before the offset; undefined if the commit does not have it. */
  readonly epoch?: number | undefined
}

/**
 * Reads committed offsets by partition key. Partitions without a committed offset are omitted. @throws ConnectionError
 */
export async function committedOffsets(
  cluster: KafkaCluster,
  coordinator: KafkaCoordinator,
  group: string,
  member: MemberIdentity | undefined,
  partitions: readonly TopicPartition[],
): Promise<ReadonlyMap<string, CommittedOffset>> {
  const topics = [...Map.groupBy(partitions, ({ topic }) => topic)].map(([name, ofTopic]) => ({
    name,
    partitionIndexes: ofTopic.map(({ index }) => index),
  }))
  const request = {
    groupId: group,
    memberId: member?.memberId ?? null,
    memberEpoch: member?.generation ?? -1,
    topics,
  }
  const { groups } = await coordinator.request('commit', ({ offsetFetch }) => offsetFetch, [[request], true])
  const answer = groups[0]
  coordinator.invalidateOn(answer?.errorCode ?? CODE.NONE)
  const committed = new Map<string, CommittedOffset>()
  for (const { name, partitions: results } of answer?.topics ?? []) {
    for (const { partitionIndex, committedOffset, committedLeaderEpoch, metadata, errorCode } of results) {
      if (errorCode !== CODE.NONE)
        throw refusal(cluster.address, `Reading the offsets of ${group}`, errorCode)
      const offset = Number(committedOffset)
      if (offset < 0) continue
      committed.set(partitionKey({ topic: name, index: partitionIndex }), {
        offset,
        progress: readProgress(offset, metadata),
        epoch: committedLeaderEpoch < 0 ? undefined : committedLeaderEpoch,
      })
    }
  }
  if (answer !== undefined && answer.errorCode === CODE.NONE) return committed
  throw new ConnectionError(
    'CONNECTION_FAILED',
    `The offsets of ${group} cannot be read at present (${nameOf(answer?.errorCode ?? CODE.COORDINATOR_NOT_AVAILABLE)}).`,
  )
}

/**
 * Records of the stream that the group has not committed; undefined if the topic does not exist. @throws
 * ConnectionError
 */
export async function groupLag(
  cluster: KafkaCluster,
  topics: KafkaTopicDirectory,
  coordinator: KafkaCoordinator,
  { consumerGroup, topics: names }: ResolvedKafkaOptions,
): Promise<number | undefined> {
  const topic = await topics.find(names.stream)
  if (topic === undefined) return undefined
  const partitions = partitionsOf(topic.name, topic.leaders.length)
  const [committed, ranges] = await Promise.all([
    committedOffsets(cluster, coordinator, consumerGroup, undefined, partitions),
    logRanges(cluster, topics, partitions),
  ])
  return [...ranges].reduce((sum, [key, range]) => sum + unsettledIn(range, committed.get(key)).count, 0)
}

/**
 * The number of records that a group has not finished in a partition, and the first of them. Records that the broker no
 * longer has do not count, nor do those after the committed offset that are finished.
 */
export function unsettledIn(
  { start, end }: LogRange,
  committed: CommittedOffset | undefined,
): { readonly count: number; readonly first: number } {
  let first = Math.max(committed?.offset ?? start, start)
  let count = Math.max(0, end - first)
  for (const [from, to] of committed?.progress.finished ?? []) {
    count -= Math.max(0, Math.min(to, end) - Math.max(from, first))
    if (from <= first && to > first) first = to
  }
  return { count: Math.max(0, count), first }
}
