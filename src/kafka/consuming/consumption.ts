import { READ_BACKOFF } from '../../kit/backoff.ts'
import { retryUntilDone } from '../../kit/retry-until-done.ts'
import { settledUntil, settledWithin } from '../../kit/time.ts'
import type { Consumption, DeadLetterReason, Intake, TransportHost } from '../../transport/transport.ts'
import type { Wait } from '../../transport/waiting.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import { KafkaCoordinator } from '../client/coordinator.ts'
import { partitionKey, type TopicPartition } from '../client/topic-partition.ts'
import type { KafkaTopic, KafkaTopicDirectory } from '../client/topics.ts'
import { storeDeadLetter } from '../dead-letters/store-dead-letter.ts'
import { isRetryable } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { KafkaPublisher } from '../publishing/publisher.ts'
import { readProgress } from '../wire/progress.ts'
import { KafkaAssignedPartition, type PartitionOwner } from './assigned-partition.ts'
import { BroadcastMembership } from './broadcast-membership.ts'
import { ClassicMembership } from './classic-membership.ts'
import { KafkaCommits } from './commits.ts'
import { DeliveryPump } from './delivery-pump.ts'
import { KafkaFetcher } from './fetcher.ts'
import { giveUpRanges } from './give-up-ranges.ts'
import type { KafkaGroupTypes } from './group-types.ts'
import type { HeldRecord } from './held-record.ts'
import { IdleWatch } from './idle-watch.ts'
import type { Membership, MembershipListener } from './membership.ts'
import { NextMembership } from './next-membership.ts'
import type { CommittedOffset } from './offsets.ts'
import { PartitionStarts } from './partition-starts.ts'
import { QUIET_FAILURES } from './quiet-failures.ts'
import { StartOffsets } from './start-offsets.ts'
import { SubscribedTopics } from './subscribed-topics.ts'
import { UncommittedWork } from './uncommitted-work.ts'
import { idOf, type KafkaWaitingRecords } from './waiting-records.ts'

export interface KafkaConsumptionParts {
  readonly options: ResolvedKafkaOptions
  readonly cluster: KafkaCluster
  readonly topics: KafkaTopicDirectory
  readonly publisher: KafkaPublisher
  readonly intake: Intake
  readonly host: TransportHost
  readonly waiting: KafkaWaitingRecords
  readonly groupTypes: KafkaGroupTypes
  readonly onRebalance: () => void
}

/**
 * One member of a consumer group: it owns partitions, fetches and delivers their records, and commits what finished.
 */
export class KafkaConsumption implements Consumption, PartitionOwner, MembershipListener {
  readonly #parts: KafkaConsumptionParts
  readonly #partitions = new Map<string, KafkaAssignedPartition>()
  /** By the id of the topic and the partition. */
  readonly #uncommitted = new Map<string, UncommittedWork>()
  readonly #topics: SubscribedTopics
  readonly #startOffsets: StartOffsets
  readonly #starts: PartitionStarts
  readonly #membership: Membership
  readonly #commits: KafkaCommits
  readonly #fetcher: KafkaFetcher
  readonly #pump: DeliveryPump
  readonly #idle: IdleWatch
  readonly #stopped = new AbortController()
  readonly #released = new AbortController()
  #refreshTimer: NodeJS.Timeout | undefined

  constructor(parts: KafkaConsumptionParts) {
    const { options, cluster, topics, host, intake } = parts
    this.#parts = parts
    const coordinator = new KafkaCoordinator(cluster, options.consumerGroup)
    const partitions = () => this.#partitions.values()
    const onFailure = (error: Error) => this.onFailure(error)
    this.#topics = new SubscribedTopics({
      options,
      topics,
      host,
      onRecreated: (topic) => this.#replace(topic),
    })
    this.#idle = new IdleWatch({ group: options.consumerGroup, stream: options.topics.stream, host })
    this.#startOffsets = new StartOffsets({ options, cluster, topics, coordinator, host })
    this.#starts = new PartitionStarts({
      leaderOf: ({ topic, index }) => topics.cached(topic)?.leaders[index] ?? -1,
      read: (assigned) => this.#startOffsets.of(assigned, this.#membership.identity),
      own: (partition, start) => this.#own(partition, topics.cached(partition.topic)?.id ?? '', start),
      onLate: () => this.#onOwned(),
      onFailure,
      released: this.#released.signal,
    })
    const Protocol = protocolOf(options)
    this.#membership = new Protocol({
      options,
      cluster,
      coordinator,
      listener: this,
      groupTypes: parts.groupTypes,
      topics: () => this.#topics.read(),
      partitionCounts: (names) => this.#topics.partitionCounts(names),
    })
    parts.groupTypes.onChanged = () => this.#membership.rejoin()
    this.#commits = new KafkaCommits({
      options,
      cluster,
      coordinator,
      partitions,
      identity: () => this.#membership.identity,
      topicIds: async (names) => new Map((await topics.findAll(names)).map(({ name, id }) => [name, id])),
      onCommitted: () => this.#pump.run(),
      onFailure,
    })
    this.#fetcher = new KafkaFetcher({
      options,
      intake,
      cluster,
      topics,
      partitions,
      onFetched: () => this.#pump.run(),
      onOutOfRange: (partition) => this.#startOffsets.reset(partition),
      onCut: (partition, offset) => this.#startOffsets.cut(partition, offset),
      onUnreadable: (partition, ranges) => giveUpRanges(parts, partition, ranges),
      refreshTopics: () => this.refreshTopics(),
      onFailure,
    })
    this.#pump = new DeliveryPump({
      intake,
      maxInFlight: options.maxInFlight,
      partitionWindow: options.partitionWindow,
      partitions,
      stopped: this.#stopped.signal,
      requestCommit: () => this.#commits.commitNow(),
      onDelivered: () => this.#fetcher.wake(),
    })
  }

  /**
   * Joins the group and starts consuming. Resolves at once if the signal aborts: the other members may delay a join for
   * as long as their handlers run. @throws ConnectionError; then this consumer is not a group member.
   */
  async start(stopped: AbortSignal): Promise<void> {
    const { startFrom, metadataMaxAgeMs } = this.#parts.options
    if (!(await settledUntil(this.#topics.start(), stopped))) return
    try {
      if (startFrom === 'latest' && !(await settledUntil(this.#noteLatest(), stopped))) return
      if (!(await settledUntil(this.#membership.join(), stopped))) return
      // With groupProtocol 'consumer', a member without partitions is assigned nothing.
      this.#idle.onAssigned([...this.#partitions.values(), ...this.#starts.pending])
    } catch (error) {
      await this.stopFetching()
      await this.#end()
      throw error
    }
    const refresh = () => void this.refreshTopics().catch(() => undefined)
    this.#refreshTimer = setInterval(refresh, metadataMaxAgeMs).unref()
  }

  get isFlowing(): boolean {
    return this.#membership.hasLiveSession
  }

  get idleReason(): string | undefined {
    return this.#idle.reason
  }

  async stopFetching(): Promise<void> {
    this.#stopped.abort()
    clearInterval(this.#refreshTimer)
    await this.#fetcher.stop()
  }

  async release(signal: AbortSignal): Promise<void> {
    const partitions = [...this.#partitions.values()]
    for (const partition of partitions) void partition.revoke()
    await this.#commits.commitFinal(partitions, signal)
    await this.#end()
  }

  async #end(): Promise<void> {
    this.#released.abort()
    this.#idle.stop()
    this.#loseAll()
    this.#commits.close()
    await this.#membership.leave()
  }

  isMember(): boolean {
    return this.#membership.hasLiveSession
  }

  onFinished(partition: KafkaAssignedPartition): void {
    this.#commits.schedule(partition)
    if (partition.hasMore) this.#pump.schedule()
  }

  onGivenBack(): void {
    this.#pump.schedule()
  }

  requestCommit(): void {
    this.#commits.commitNow()
  }

  whenCommitted(partition: KafkaAssignedPartition): Promise<boolean> {
    return this.#commits.whenCommitted(partition)
  }

  async deadLetter(record: HeldRecord, reason: DeadLetterReason): Promise<void> {
    const { publisher, options, waiting } = this.#parts
    const { parkedFor = [] } = reason
    const places = new Map(parkedFor.map((name) => [name, idOf(record, name)]))
    await storeDeadLetter(publisher, options, record, { ...reason, places })
    // A crash in between repeats the event, and the next dead letter takes the places.
    if (parkedFor.length > 0) await waiting.park(record, parkedFor)
  }

  postpone(record: HeldRecord, wait: Wait): Promise<void> {
    return this.#parts.waiting.add(record, wait)
  }

  waitBehind(record: HeldRecord, handlerName: string, limit: number): Promise<number> {
    return this.#parts.waiting.addBehind(record, handlerName, limit)
  }

  passOn(record: HeldRecord, except: readonly string[]): Promise<void> {
    return this.#parts.waiting.passOn(record, except)
  }

  /** True while this member owns the replay topic of its group. */
  get ownsReplays(): boolean {
    const isOwned = [...this.#partitions.values()].some(({ isReplays, isLost }) => isReplays && !isLost)
    return isOwned && this.isMember()
  }

  async onAssigned(assigned: readonly TopicPartition[]): Promise<void> {
    const wanted = new Set(assigned.map(partitionKey))
    const removed = [...this.#partitions].filter(([key]) => !wanted.has(key))
    for (const [key, partition] of removed) {
      partition.lose()
      this.#partitions.delete(key)
    }
    const isKnown = (key: string) => this.#partitions.has(key) || this.#starts.has(key)
    const added = assigned.filter((partition) => !isKnown(partitionKey(partition)))
    this.#starts.keepOnly(wanted)
    if (added.length > 0) await this.#starts.take(added)
    this.#idle.onAssigned(assigned)
    this.#onOwned(added.length > 0 || removed.length > 0)
  }

  async onRevoked(revoked: readonly TopicPartition[]): Promise<void> {
    this.#starts.drop(revoked)
    const partitions = revoked.flatMap((partition) => this.#partitions.get(partitionKey(partition)) ?? [])
    const { maxPollIntervalMs, requestTimeoutMs } = this.#parts.options
    await settledWithin(Promise.all(partitions.map((partition) => partition.revoke())), maxPollIntervalMs)
    await this.#commits.commitFinal(
      partitions,
      AbortSignal.any([AbortSignal.timeout(requestTimeoutMs), this.#released.signal]),
    )
    for (const partition of partitions) {
      partition.lose()
      this.#partitions.delete(partitionKey(partition))
    }
    this.#commits.settleWaiters()
  }

  onLost(): void {
    this.#idle.stop()
    this.#loseAll()
    this.#commits.settleWaiters()
  }

  onResumed(): void {
    this.#pump.run()
  }

  onRebalance(): void {
    this.#parts.onRebalance()
  }

  onWaiting(detail: string): void {
    if (!this.#stopped.signal.aborted) this.#idle.onWaiting(detail)
  }

  onFailure(error: Error): void {
    if (!this.#stopped.signal.aborted) this.#parts.host.notify({ type: 'readFailed', error })
  }

  /** Detects new partitions, the first replay of this group, and topics that vanished. @throws ConnectionError */
  async refreshTopics(): Promise<void> {
    if (this.#stopped.signal.aborted) return
    if (await this.#topics.refresh()) this.#membership.rejoin()
    this.#fetcher.startLoops()
  }

  /** Partitions were added or removed. */
  #onOwned(hasChanged = true): void {
    this.#commits.settleWaiters()
    this.#commits.commitNow()
    if (this.ownsReplays) this.#parts.waiting.onReady?.()
    if (hasChanged) this.#fetcher.restart()
    this.#pump.run()
  }

  #own(partition: TopicPartition, topicId: string, start: CommittedOffset): void {
    const { topics, consumerGroup } = this.#parts.options
    const isReplays = partition.topic === topics.replays(consumerGroup)
    const workKey = `${topicId}-${partition.index}`
    const work = this.#uncommitted.get(workKey) ?? new UncommittedWork()
    this.#uncommitted.set(workKey, work)
    const owned = new KafkaAssignedPartition(this, { ...partition, topicId, isReplays }, start, work)
    this.#partitions.set(partitionKey(partition), owned)
  }

  /** Starts the partitions of a recreated topic at its first offset: the old records and offsets are gone. */
  #replace(topic: KafkaTopic): void {
    this.#startOffsets.forgetLatest()
    for (const partition of this.#partitions.values()) {
      if (partition.topic !== topic.name || partition.topicId === topic.id) continue
      partition.lose()
      const { index } = partition
      this.#own({ topic: topic.name, index }, topic.id, { offset: 0, progress: readProgress(0, null) })
    }
    this.#commits.settleWaiters()
    this.#commits.commitNow()
    this.#fetcher.restart()
  }

  #loseAll(): void {
    this.#starts.dropAll()
    for (const partition of this.#partitions.values()) partition.lose()
    this.#partitions.clear()
  }

  /** Retries until it succeeds or this consumer ends. @throws ConnectionError that no retry can fix. */
  async #noteLatest(): Promise<void> {
    await retryUntilDone(() => this.#startOffsets.noteLatest(), {
      backoff: READ_BACKOFF,
      signal: this.#released.signal,
      onFailure: (error, failure) => {
        if (!isRetryable(error)) throw error
        if (failure > QUIET_FAILURES) this.onFailure(error)
      },
    })
  }
}

function protocolOf({ broadcast, groupProtocol }: ResolvedKafkaOptions) {
  if (broadcast) return BroadcastMembership
  return groupProtocol === 'consumer' ? NextMembership : ClassicMembership
}
