import type { KafkaLibrary, MemberSubscription, TopicPartitions } from '../client/client.ts'
import type { JoinGroupResponse } from '../client/protocol.ts'
import type { TopicPartition } from '../client/topic-partition.ts'
import { type AssignableMember, assignCooperatively, assignInTurn } from './assignors.ts'

type Assignments = readonly { readonly memberId: string; readonly assignment: Buffer }[]

/** The members of a group, as each described itself when it joined. */
export function membersOf(library: KafkaLibrary, joined: JoinGroupResponse): readonly AssignableMember[] {
  return joined.members.map(({ memberId, metadata }) => {
    const subscription = library.decodeConsumerProtocolSubscription(metadata)
    const { topics, ownedPartitions } = subscription
    const generation = generationIn(subscription)
    return { memberId, topics: new Set(topics), owned: ungroup(ownedPartitions), generation }
  })
}

/** What the members of a group said about the types that they handle. */
export function memberDataOf(library: KafkaLibrary, joined: JoinGroupResponse): readonly (Buffer | null)[] {
  return joined.members.map(({ metadata }) => library.decodeConsumerProtocolSubscription(metadata).userData)
}

/** Members of the Java client before 3.2 write the generation into the data of the cooperative-sticky assignor. */
function generationIn({ generationId, userData }: MemberSubscription): number {
  return generationId < 0 && userData !== null && userData.length >= 4
    ? userData.readInt32BE(0)
    : generationId
}

/** Assigns partitions to the members of a group, which is the leader's task. */
export function assignPartitions(
  library: KafkaLibrary,
  members: readonly AssignableMember[],
  partitionCounts: ReadonlyMap<string, number>,
  { isEager, userData }: { readonly isEager: boolean; readonly userData: Buffer },
): Assignments {
  const assign = isEager ? assignInTurn : assignCooperatively
  return [...assign(members, partitionCounts)].map(([memberId, partitions]) => ({
    memberId,
    assignment: library.encodeConsumerProtocolAssignment({
      version: isEager ? 0 : 2,
      assignedPartitions: groupByTopic(partitions),
      userData,
    }),
  }))
}

/** Partitions by topic, as the protocol writes them. */
export function groupByTopic(partitions: readonly TopicPartition[]): TopicPartitions[] {
  return [...Map.groupBy(partitions, ({ topic }) => topic)].map(([topic, ofTopic]) => ({
    topic,
    partitions: ofTopic.map(({ index }) => index),
  }))
}

/** The opposite of `groupByTopic`. */
export function ungroup(topics: readonly TopicPartitions[]): readonly TopicPartition[] {
  return topics.flatMap(({ topic, partitions }) => partitions.map((index) => ({ topic, index })))
}
