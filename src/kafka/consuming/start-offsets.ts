import type { TransportHost } from '../../transport/transport.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import type { KafkaCoordinator } from '../client/coordinator.ts'
import { type LogRange, logRanges } from '../client/log-ranges.ts'
import { partitionKey, partitionsOf, type TopicPartition } from '../client/topic-partition.ts'
import type { KafkaTopicDirectory } from '../client/topics.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import { readProgress } from '../wire/progress.ts'
import type { KafkaAssignedPartition } from './assigned-partition.ts'
import type { MemberIdentity } from './membership.ts'
import { type CommittedOffset, committedOffsets } from './offsets.ts'

export interface StartOffsetsParts {
  readonly options: ResolvedKafkaOptions
  readonly cluster: KafkaCluster
  readonly topics: KafkaTopicDirectory
  readonly coordinator: KafkaCoordinator
  readonly host: TransportHost
}

/** Decides where the group starts to read a partition. */
export class StartOffsets {
  readonly #parts: StartOffsetsParts
  /**
   * Ends of the logs when this consumer started, if the group was new then. The group receives every record published
   * since, even if its partition is assigned much later. If the group is not new, a partition without a committed
   * offset was added later, and is read from its first record.
   */
  #latest: ReadonlyMap<string, LogRange> = new Map()

  constructor(parts: StartOffsetsParts) {
    this.#parts = parts
  }

  /** For `startFrom: 'latest'`: records the ends of the stream's logs if the group is new. @throws ConnectionError */
  async noteLatest(): Promise<void> {
    const { cluster, topics, options } = this.#parts
    const { stream } = options.topics
    const partitions = partitionsOf(stream, topics.cached(stream)?.leaders.length ?? 0)
    const committed = await this.#committed(partitions, undefined)
    if (committed.size === 0) this.#latest = await logRanges(cluster, topics, partitions)
  }

  /** Forgets the ends of the logs, because a recreated topic has other offsets. */
  forgetLatest(): void {
    this.#latest = new Map()
  }

  /** The start of each partition, by its key: the committed offset if there is one. @throws ConnectionError */
  async of(
    partitions: readonly TopicPartition[],
    member: MemberIdentity | undefined,
  ): Promise<ReadonlyMap<string, CommittedOffset>> {
    const { cluster, topics } = this.#parts
    const committed = await this.#committed(partitions, member)
    const added = partitions.filter((partition) => !committed.has(partitionKey(partition)))
    const ranges = added.length === 0 ? new Map<string, never>() : await logRanges(cluster, topics, added)
    return new Map(
      partitions.map((partition) => {
        const key = partitionKey(partition)
        const offset = this.#latest.get(key)?.end ?? ranges.get(key)?.start ?? 0
        const start = committed.get(key) ?? { offset, progress: readProgress(offset, null) }
        return [key, this.#ofPresentTopic(partition, start)]
      }),
    )
  }

  async #committed(
    partitions: readonly TopicPartition[],
    member: MemberIdentity | undefined,
  ): Promise<ReadonlyMap<string, CommittedOffset>> {
    const { cluster, coordinator, options } = this.#parts
    if (options.broadcast) return new Map()
    // The brokers check the epoch of a member of KIP-848.
    const reader = options.groupProtocol === 'consumer' ? member : undefined
    return committedOffsets(cluster, coordinator, options.consumerGroup, reader, partitions)
  }

  /**
   * A commit names its topic, which may have been deleted and recreated since. Only commits of this bus have the topic's id
   * together with an epoch. A tool that copies commits to another cluster leaves the epoch out: there, the offset is right
   * and the records beyond it are others.
   */
  #ofPresentTopic(partition: TopicPartition, start: CommittedOffset): CommittedOffset {
    const { topicId } = start.progress
    const presentId = this.#parts.topics.cached(partition.topic)?.id
    if (topicId === undefined || presentId === undefined || topicId === presentId) return start
    const { offset, epoch } = start
    if (epoch === undefined) return { offset, progress: readProgress(offset, null) }
    const detail =
      `${partitionKey(partition)}: topic ${partition.topic} was deleted and recreated while no consumer of the group ran; ` +
      'the unhandled events of the former topic are lost; consuming starts at the first event'
    this.#parts.host.notify({ type: 'eventsLost', detail, count: undefined })
    return { offset: 0, progress: readProgress(0, null) }
  }

  /** Restarts a partition whose position is not in its log, and reports the lost events. @throws ConnectionError */
  async reset(partition: KafkaAssignedPartition): Promise<void> {
    const { cluster, topics, host, options } = this.#parts
    const range = (await logRanges(cluster, topics, [partition])).get(partitionKey(partition))
    if (range === undefined) return
    const { position } = partition
    const isLatest = options.autoOffsetReset === 'latest' && partition.topic === options.topics.stream
    const offset = isLatest ? range.end : range.start
    const lost = position < range.start ? range.start - position : undefined
    const detail =
      `${partitionKey(partition)}: offset ${position} is not in the log, which holds ${range.start} to ${range.end}; ` +
      `consuming continues at ${offset}`
    host.notify({ type: 'eventsLost', detail, count: lost })
    partition.restart(offset)
  }

  /** Restarts a partition at the offset from which on its log holds other records than before, and reports the loss. */
  cut(partition: KafkaAssignedPartition, offset: number): void {
    const { position } = partition
    const detail =
      `${partitionKey(partition)}: the log lost the records ${offset} to ${position - 1}, which this consumer has read, ` +
      `in the election of a leader without them; consuming continues at ${offset}`
    this.#parts.host.notify({ type: 'eventsLost', detail, count: position - offset })
    partition.cut(offset)
  }
}
