import type { KafkaCluster } from '../client/cluster.ts'
import type { KafkaCoordinator } from '../client/coordinator.ts'
import type { TopicPartition } from '../client/topic-partition.ts'
import { CODE, nameOf } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { KafkaGroupTypes } from './group-types.ts'

/** Identifies a group member in its commits. */
export interface MemberIdentity {
  readonly memberId: string
  /** The generation of the classic protocol, or the member epoch of KIP-848. */
  readonly generation: number
  readonly groupInstanceId: string | null
}

/** A topic that the group consumes. */
export interface SubscribedTopic {
  readonly name: string
  readonly id: string
  readonly partitions: number
}

/** Notified of changes to a membership. */
export interface MembershipListener {
  /** The complete assignment. Partitions that are no longer in it were revoked or lost before. */
  onAssigned(partitions: readonly TopicPartition[]): Promise<void>
  /** Resolves when the partitions can go to other members: no handler runs, and the finished records are committed. */
  onRevoked(partitions: readonly TopicPartition[]): Promise<void>
  /** The group evicted this member. Other members own its partitions by now. */
  onLost(): void
  /** The session has expired without an eviction: the member still owns its partitions. */
  onResumed(): void
  onRebalance(): void
  /** This member owns nothing, and its join takes long. */
  onWaiting(detail: string): void
  onFailure(error: Error): void
}

export interface MembershipParts {
  readonly options: ResolvedKafkaOptions
  readonly cluster: KafkaCluster
  readonly coordinator: KafkaCoordinator
  readonly listener: MembershipListener
  /** Used by the classic protocol. */
  readonly groupTypes: KafkaGroupTypes
  /** Reads the topics to consume. */
  readonly topics: () => Promise<readonly SubscribedTopic[]>
  /** Reads the numbers of partitions of topics that other members of the group consume. */
  readonly partitionCounts: (names: readonly string[]) => Promise<ReadonlyMap<string, number>>
}

/** A membership in a consumer group. */
export interface Membership {
  /** Undefined while this consumer is not a member. */
  readonly identity: MemberIdentity | undefined
  /** False if the group may have evicted this member, because the session timeout passed without a heartbeat. */
  readonly hasLiveSession: boolean
  /** Joins, and remains a member until `leave`. Resolves at the first assignment. @throws ConnectionError */
  join(): Promise<void>
  /** Requests a rebalance, because the topics changed. */
  rejoin(): void
  leave(): Promise<void>
}

/** The group refused a request. The code determines what the member must do. */
export class GroupError extends Error {
  readonly errorCode: number
  /** The broker's own message, if the answer has one. */
  readonly detail: string | null

  constructor(errorCode: number, detail: string | null = null) {
    super(`The group refused a request: ${nameOf(errorCode)}.`)
    this.errorCode = errorCode
    this.detail = detail
  }
}

/** Answers of a group whose members have other options: a release that is rolled out replaces them sooner or later. */
export const OTHER_PROTOCOL: ReadonlySet<number> = new Set([
  CODE.INCONSISTENT_GROUP_PROTOCOL,
  CODE.GROUP_ID_NOT_FOUND,
])

/** Wait before a member tries again to join a group that uses another protocol or assignor, in milliseconds. */
export const OTHER_PROTOCOL_RETRY_MS = 5000
