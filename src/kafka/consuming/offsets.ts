import { ConnectionError } from '../../transport/errors.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import type { KafkaCoordinator } from '../client/coordinator.ts'
import { logRanges } from '../client/log-ranges.ts'
import { partitionKey, type TopicPartition } from '../client/topic-partition.ts'
import type { KafkaTopicDirectory } from '../client/topics.ts'
import { CODE, nameOf, refusal } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import { type PartitionProgress, readProgress } from '../wire/progress.ts'
import type { MemberIdentity } from './membership.ts'

/** Where a group has got to in a partition. */
export interface CommittedOffset {
  readonly offset: number
  readonly progress: PartitionProgress
}

/** Asks for committed offsets; a partition that the group never committed is not in the answer. @throws ConnectionError */
export async function committedOffsets(
  cluster: KafkaCluster,
  coordinator: KafkaCoordinator,
  group: string,
  member: MemberIdentity | undefined,
  places: readonly TopicPartition[],
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
      committed.set(partitionKey({ topic: name, index: partitionIndex }), {
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
