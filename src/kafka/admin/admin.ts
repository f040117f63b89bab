import { checkPlace } from '../../kit/places.ts'
import {
  type EventPlace,
  type GroupInfo,
  type GroupPartition,
  type MessageScan,
  type ScanRequest,
  type SeekOutcome,
  type TransportAdmin,
  totalLoad,
} from '../../transport/admin.ts'
import type { GroupProgress } from '../../transport/group-progress.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import { KafkaCoordinator } from '../client/coordinator.ts'
import { logRanges } from '../client/log-ranges.ts'
import { partitionKey, partitionsOf } from '../client/topic-partition.ts'
import type { KafkaTopic, KafkaTopicDirectory } from '../client/topics.ts'
import { committedOffsets } from '../consuming/offsets.ts'
import { KafkaWaitingRecords, type KafkaWaitingRecordsParts } from '../consuming/waiting-records.ts'
import type { KafkaDeadLetters } from '../dead-letters/dead-letters.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { KafkaPublisher } from '../publishing/publisher.ts'
import { KafkaGroupDirectory, type ListedGroup, membersOn, ownerOf } from './group-directory.ts'
import { loadOf } from './group-load.ts'
import { KafkaProgress } from './progress.ts'
import { isPosition, KafkaScan } from './scan.ts'
import { commitFor } from './seek.ts'

export interface KafkaAdminParts {
  readonly options: ResolvedKafkaOptions
  readonly cluster: KafkaCluster
  readonly topics: KafkaTopicDirectory
  readonly publisher: KafkaPublisher
  readonly deadLetters: KafkaDeadLetters
}

/** What an operator can ask Kafka. It joins no group and commits nothing. */
export class KafkaAdmin implements TransportAdmin {
  readonly #parts: KafkaAdminParts
  readonly #directory: KafkaGroupDirectory
  readonly #scan: KafkaScan
  readonly #progress: KafkaProgress
  readonly #waiting = new Map<string, KafkaWaitingRecords>()

  constructor(parts: KafkaAdminParts) {
    this.#parts = parts
    this.#directory = new KafkaGroupDirectory(parts.cluster)
    this.#scan = new KafkaScan(parts)
    this.#progress = new KafkaProgress(parts, (group) => this.#waitingOf(group))
  }

  scan(request: ScanRequest): Promise<MessageScan> {
    return this.#scan.open(request)
  }

  follow(aggregateId: string | undefined, signal: AbortSignal): Promise<MessageScan> {
    return this.#scan.follow(aggregateId, signal)
  }

  async groups(): Promise<readonly GroupInfo[]> {
    const { topics, options } = this.#parts
    const stream = await topics.find(options.topics.stream)
    if (stream === undefined) return []
    const groups = await Promise.all((await this.#listed()).map((group) => this.#describe(group, stream)))
    return groups.filter((group) => group !== undefined)
  }

  async progress(place: EventPlace): Promise<readonly GroupProgress[]> {
    return this.#progress.of(await this.#listed(), place)
  }

  async #listed(): Promise<readonly ListedGroup[]> {
    return (await this.#directory.list()).toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** Replays and waiting retries stay in the topics of the group. */
  async deleteGroup(name: string): Promise<boolean> {
    const { topics, options } = this.#parts
    const stream = await topics.find(options.topics.stream)
    const group = (await this.#directory.list()).find((candidate) => candidate.name === name)
    if (group === undefined || stream === undefined) return true
    if (membersOn(group, stream).length > 0) return false
    return this.#directory.deleteOffsets(group, stream)
  }

  async seek(name: string, to: Date | string, isDryRun: boolean): Promise<SeekOutcome> {
    checkPlace('admin.seek: to', to, isPosition)
    const place = await this.#scan.rangesAt(to)
    if (place === undefined) return { events: 0, isMoved: false }
    const { topic, ranges } = place
    const events = [...ranges.values()].reduce((sum, { start, end }) => sum + end - start, 0)
    if (isDryRun) return { events, isMoved: false }
    const offsets = new Map(Array.from(ranges, ([index, { start }]) => [index, start]))
    return { events, isMoved: await commitFor(this.#parts.cluster, name, topic, offsets) }
  }

  /** @returns undefined for a group that consumes other topics only. */
  async #describe(group: ListedGroup, stream: KafkaTopic): Promise<GroupInfo | undefined> {
    const { cluster, topics, options, deadLetters } = this.#parts
    const { name } = group
    const members = membersOn(group, stream)
    const replays = await topics.find(options.topics.replays(name))
    const consumed = replays === undefined ? [stream] : [stream, replays]
    const partitions = consumed.flatMap((topic) => partitionsOf(topic.name, topic.leaders.length))
    const coordinator = new KafkaCoordinator(cluster, name)
    const committed = await committedOffsets(cluster, coordinator, name, undefined, partitions)
    const hasCommitted = partitions.some(
      (one) => one.topic === stream.name && committed.has(partitionKey(one)),
    )
    if (members.length === 0 && !hasCommitted) return undefined
    const ranges = await logRanges(cluster, topics, partitions)
    const loads = await Promise.all(
      partitions.map(async (partition) => {
        const { topic: topicName, index } = partition
        const key = partitionKey(partition)
        const topic = topicName === stream.name ? stream : (replays ?? stream)
        const range = ranges.get(key) ?? { start: 0, end: 0 }
        return loadOf(cluster, options, { topic, index, range, committed: committed.get(key) })
      }),
    )
    return {
      name,
      members: members.length,
      ...totalLoad(loads),
      inFlight: undefined,
      retriesWaiting: await this.#waitingOf(name).count(),
      deadLetters: await deadLetters.count(name),
      partitions: stream.leaders.map(
        (_leader, partition): GroupPartition => ({
          partition,
          consumer: ownerOf(members, stream.name, partition),
          ...(loads[partition] ?? totalLoad([])),
        }),
      ),
    }
  }

  #waitingOf(consumerGroup: string): KafkaWaitingRecords {
    const { options, ...shared } = this.#parts
    const parts: KafkaWaitingRecordsParts = {
      ...shared,
      options: { ...options, consumerGroup },
      isOwner: () => false,
      onTopics: () => undefined,
    }
    const known = this.#waiting.get(consumerGroup) ?? new KafkaWaitingRecords(parts)
    this.#waiting.set(consumerGroup, known)
    return known
  }
}
