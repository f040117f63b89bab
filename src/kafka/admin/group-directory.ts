import type { KafkaApis } from '../client/apis.ts'
import type { KafkaLibrary } from '../client/client.ts'
import type { KafkaCluster, PickApi } from '../client/cluster.ts'
import type { KafkaTopic } from '../client/topics.ts'
import { CODE, refusal } from '../errors.ts'

/** A consumer of a group. */
export interface GroupMember {
  /** The client id, which is the consumer name of a bus. */
  readonly name: string
  readonly topics: readonly string[]
  readonly assigned: readonly { readonly topic: string; readonly partitions: readonly number[] }[]
}

/** A group of the cluster, and the broker that coordinates it. */
export interface ListedGroup {
  readonly name: string
  readonly node: number
  readonly members: readonly GroupMember[]
  /** The protocol of its members; undefined before Kafka 3.8. */
  readonly type: 'classic' | 'consumer' | undefined
}

const CONSUMER_PROTOCOL = 'consumer'

/** Reads the consumer groups of the whole cluster, and deletes their offsets. Each broker knows those that it coordinates. */
export class KafkaGroupDirectory {
  readonly #cluster: KafkaCluster

  constructor(cluster: KafkaCluster) {
    this.#cluster = cluster
  }

  async list(): Promise<readonly ListedGroup[]> {
    const byNode = await Promise.all(this.#cluster.brokerIds.map((node) => this.#listOn(node)))
    return byNode.flat()
  }

  async find(name: string): Promise<ListedGroup | undefined> {
    return (await this.list()).find((group) => group.name === name)
  }

  /**
   * Deletes the offsets that the group has committed for a topic. A group without offsets vanishes; one that also consumes
   * other topics keeps theirs.
   * @returns false if a member consumes the topic.
   */
  async deleteOffsets({ name, node }: ListedGroup, topic: KafkaTopic): Promise<boolean> {
    const partitions = topic.leaders.map((_, partitionIndex) => ({ partitionIndex }))
    const request = [{ name: topic.name, partitions }]
    const answer = await this.#request(node, ({ offsetDelete }) => offsetDelete, [name, request])
    const codes = answer.topics.flatMap((one) => one.partitions.map(({ errorCode }) => errorCode))
    const code = [answer.errorCode, ...codes].find((one) => one !== CODE.NONE)
    if (code === CODE.NON_EMPTY_GROUP || code === CODE.GROUP_SUBSCRIBED_TO_TOPIC) return false
    if (code === undefined || code === CODE.GROUP_ID_NOT_FOUND) return true
    throw refusal(this.#cluster.address, `Deleting the offsets of ${name}`, code)
  }

  async #listOn(node: number): Promise<readonly ListedGroup[]> {
    const { errorCode, groups } = await this.#request(node, ({ listGroups }) => listGroups, [[], []])
    if (errorCode !== CODE.NONE) throw refusal(this.#cluster.address, 'Listing the groups', errorCode)
    const consuming = groups.filter(
      ({ protocolType }) => protocolType === CONSUMER_PROTOCOL || protocolType === '',
    )
    const [newer, classic] = [true, false].map((isNewer) =>
      consuming
        .filter(({ groupType }) => (groupType?.toLowerCase() === CONSUMER_PROTOCOL) === isNewer)
        .map(({ groupId }) => groupId),
    )
    const members = new Map([
      ...(await this.#classicMembers(node, classic ?? [])),
      ...(await this.#newerMembers(node, newer ?? [])),
    ])
    return consuming.map(({ groupId, groupType }) => ({
      name: groupId,
      node,
      members: members.get(groupId) ?? [],
      type: typeOf(groupType),
    }))
  }

  async #classicMembers(
    node: number,
    names: readonly string[],
  ): Promise<readonly (readonly [string, readonly GroupMember[]])[]> {
    if (names.length === 0) return []
    const { library } = this.#cluster
    const { groups } = await this.#request(node, ({ describeGroups }) => describeGroups, [names, false])
    return groups.map(({ groupId, members }) => [
      groupId,
      members.map(({ clientId, memberMetadata, memberAssignment }) => ({
        name: clientId,
        topics: topicsIn(library, memberMetadata),
        assigned: assignedIn(library, memberAssignment),
      })),
    ])
  }

  async #newerMembers(
    node: number,
    names: readonly string[],
  ): Promise<readonly (readonly [string, readonly GroupMember[]])[]> {
    if (names.length === 0) return []
    const pick = ({ describeConsumerGroups }: KafkaApis) => describeConsumerGroups
    const { groups } = await this.#request(node, pick, [names, false])
    return groups.map(({ groupId, members }) => [
      groupId,
      members.map(({ clientId, subscribedTopicNames, assignment }) => ({
        name: clientId,
        topics: subscribedTopicNames,
        assigned: assignment.topicPartitions.map(({ topicName: topic, partitions }) => ({
          topic,
          partitions,
        })),
      })),
    ])
  }

  #request<Args extends readonly unknown[], T>(
    node: number,
    pick: (apis: KafkaApis) => ReturnType<PickApi<Args, T>> | undefined,
    args: Args,
  ): Promise<T> {
    const { address } = this.#cluster
    const needed: PickApi<Args, T> = (apis) => {
      const api = pick(apis)
      if (api === undefined) throw refusal(address, 'Asking for groups', CODE.UNSUPPORTED_VERSION)
      return api
    }
    return this.#cluster.request(node, 'control', needed, args)
  }
}

function typeOf(groupType: string | undefined): ListedGroup['type'] {
  if (groupType === undefined) return undefined
  return groupType.toLowerCase() === CONSUMER_PROTOCOL ? 'consumer' : 'classic'
}

/** Other clients may write anything. */
function topicsIn(library: KafkaLibrary, metadata: Buffer): readonly string[] {
  try {
    return library.decodeConsumerProtocolSubscription(metadata).topics
  } catch {
    return []
  }
}

function assignedIn(library: KafkaLibrary, assignment: Buffer): GroupMember['assigned'] {
  if (assignment.length === 0) return []
  try {
    return library.decodeConsumerProtocolAssignment(assignment).assignedPartitions
  } catch {
    return []
  }
}

/** The members that consume the topic. */
export function membersOn({ members }: ListedGroup, { name }: KafkaTopic): readonly GroupMember[] {
  return members.filter(({ topics }) => topics.includes(name))
}

/** The client that owns a partition. */
export function ownerOf(
  members: readonly GroupMember[],
  topic: string,
  partition: number,
): string | undefined {
  const owns = ({ assigned }: GroupMember) =>
    assigned.some((one) => one.topic === topic && one.partitions.includes(partition))
  return members.find(owns)?.name
}
