import type { AssignableMember, KafkaLibrary, TopicPartitions } from '../client/client.ts'
import type { JoinGroupResponse } from '../client/protocol.ts'
import type { TopicPartition } from '../client/topic-partition.ts'
import type { SubscribedTopic } from './membership.ts'

type Assignments = readonly { readonly memberId: string; readonly assignment: Buffer }[]

/** Assigns the partitions of the topics to the members of a group, which is the leader's task. */
export function assignPartitions(
  library: KafkaLibrary,
  joined: JoinGroupResponse,
  topics: readonly SubscribedTopic[],
  { isEager }: { readonly isEager: boolean },
): Assignments {
  const members = new Map<string, AssignableMember>()
  for (const { memberId, metadata } of joined.members) {
    const subscription = library.decodeConsumerProtocolSubscription(metadata)
    members.set(memberId, { ...subscription, memberId })
  }
  const known = new Map(topics.map(({ name, partitions }) => [name, { partitionsCount: partitions }]))
  const wanted = [...members.values()].flatMap((member) => member.topics).filter((name) => known.has(name))
  const assignor = isEager ? library.roundRobinAssigner : library.cooperativeStickyAssigner
  return assignor(joined.memberId, members, new Set(wanted), { topics: known }).map(
    ({ memberId, assignments }) => ({
      memberId,
      assignment: library.encodeConsumerProtocolAssignment({
        version: isEager ? 0 : 2,
        assignedPartitions: [...assignments.values()],
        userData: null,
      }),
    }),
  )
}

/** Partitions by topic, as the protocol writes them. */
export function groupByTopic(partitions: readonly TopicPartition[]): TopicPartitions[] {
  return [...Map.groupBy(partitions, ({ topic }) => topic)].map(([topic, ofTopic]) => ({
    topic,
    partitions: ofTopic.map(({ index }) => index),
  }))
}
