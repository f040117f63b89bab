import { toError } from '../../errors.ts'
import { RetryPolicy } from '../../kit/retry-policy.ts'
import { settledWithin, sleep } from '../../kit/time.ts'
import type { Consumption, DeadLetterReason, Intake, TransportHost } from '../../transport/transport.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import { KafkaCoordinator } from '../client/coordinator.ts'
import { type LogRange, logRanges } from '../client/log-ranges.ts'
import { partitionKey, type TopicPartition } from '../client/topic-partition.ts'
import type { KafkaTopic, KafkaTopicDirectory } from '../client/topics.ts'
import { storeDeadLetter } from '../dead-letters/dead-letters.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import type { KafkaPublisher } from '../publishing/publisher.ts'
import { readProgress } from '../wire/progress.ts'
import { KafkaAssignedPartition, type PartitionOwner } from './assigned-partition.ts'
import { ClassicMembership } from './classic-membership.ts'
import { KafkaCommits } from './commits.ts'
import { KafkaFetcher } from './fetcher.ts'
import type { HeldRecord } from './held-record.ts'
import type { Membership, MembershipListener } from './membership.ts'
import { NextMembership } from './next-membership.ts'
import { committedOffsets } from './offsets.ts'

const AGAIN = new RetryPolicy({
  maxRetries: Number.POSITIVE_INFINITY,
  retryBaseDelayMs: 50,
  retryMaxDelayMs: 2000,
  retryJitter: 0.2,
})

export interface KafkaConsumptionParts {
  readonly options: ResolvedKafkaOptions
  readonly cluster: KafkaCluster
  readonly topics: KafkaTopicDirectory
  readonly publisher: KafkaPublisher
  readonly intake: Intake
  readonly host: TransportHost
  readonly onRebalance: () => void
}

/** One member of a group: owns partitions, reads ahead, hands over in order, commits what is finished. */
export class KafkaConsumption implements Consumption, PartitionOwner, MembershipListener {
  readonly #parts: KafkaConsumptionParts
  readonly #partitions = new Map<string, KafkaAssignedPartition>()
  readonly #coordinator: KafkaCoordinator
  readonly #membership: Membership
  readonly #commits: KafkaCommits
  readonly #fetcher: KafkaFetcher
  readonly #stopped = new AbortController()
  readonly #released = new AbortController()
  readonly #known = new Map<string, KafkaTopic>()
  /**
   * Where the log ended when this began, if the group was new then: what is published from then on is the group's,
   * whenever it gets partitions. Of a group that is not new, a partition without a committed offset was added since, and
   * is the group's from its first record.
   */
  #latest: ReadonlyMap<string, LogRange> = new Map()
  #looking: NodeJS.Timeout | undefined
  #turn = 0
  #isPumping = false
  #isPumpWanted = false
  #isWaitingForRoom = false

  constructor(parts: KafkaConsumptionParts) {
    const { options, cluster } = parts
    this.#parts = parts
    this.#coordinator = new KafkaCoordinator(cluster, options.consumerGroup)
    const shared = { options, session: () => cluster.session, coordinator: this.#coordinator }
    const Protocol = options.groupProtocol === 'consumer' ? NextMembership : ClassicMembership
    this.#membership = new Protocol({
      ...shared,
      listener: this,
      topics: () => this.#subscription(),
      whenUp: (signal) => cluster.whenUp(signal),
    })
    this.#commits = new KafkaCommits({
      ...shared,
      identity: () => this.#membership.identity,
      partitions: () => this.#partitions.values(),
      onCommitted: () => this.#pump(),
      onFailure: (error) => this.onFailure(error),
    })
    this.#fetcher = new KafkaFetcher({
      options,
      cluster,
      topics: parts.topics,
      partitions: () => this.#partitions.values(),
      onFetched: () => this.#pump(),
      onOutOfRange: (partition) => this.#findRange(partition),
      onUnreadable: (partition, { unreadable }) => {
        for (const { from, to, error } of unreadable) {
          const detail = `${partitionKey(partition)}: the records ${from} to ${to} cannot be read (${error.message})`
          this.#parts.host.notify({ type: 'eventsLost', detail, count: to - from + 1 })
        }
      },
      onMoved: () => this.lookAtTopics(),
      onFailure: (error) => this.onFailure(error),
    })
  }

  /** Joins the group and begins. @throws ConnectionError, and is no member then */
  async start(): Promise<void> {
    const { options, topics } = this.#parts
    const { stream } = options.topics
    this.#known.set(stream, await topics.ensure(stream))
    try {
      if (options.autoOffsetReset === 'latest') await this.#insist(() => this.#lookForBeginning())
      await this.#membership.join()
    } catch (error) {
      await this.stopFetching()
      await this.#end()
      throw error
    }
    const everyMs = options.metadataMaxAgeMs
    this.#looking = setInterval(() => void this.lookAtTopics().catch(() => undefined), everyMs).unref()
  }

  get isFlowing(): boolean {
    return this.#membership.isFresh
  }

  async stopFetching(): Promise<void> {
    this.#stopped.abort()
    clearInterval(this.#looking)
    await this.#fetcher.stop()
  }

  async release(signal: AbortSignal): Promise<void> {
    const partitions = [...this.#partitions.values()]
    for (const partition of partitions) void partition.revoke()
    await this.#commits.commitEnd(partitions, signal)
    await this.#end()
  }

  async #end(): Promise<void> {
    this.#released.abort()
    this.#loseAll()
    this.#commits.close()
    await this.#membership.leave()
  }

  isMember(): boolean {
    return this.#membership.isFresh
  }

  onFinished(partition: KafkaAssignedPartition): void {
    this.#commits.note(partition)
    if (partition.hasMore) this.#pumpSoon()
  }

  onGivenBack(): void {
    this.#pumpSoon()
  }

  wantCommit(): void {
    this.#commits.now()
  }

  committed(partition: KafkaAssignedPartition): Promise<boolean> {
    return this.#commits.committed(partition)
  }

  deadLetter(record: HeldRecord, reason: DeadLetterReason): Promise<void> {
    return storeDeadLetter(this.#parts.publisher, this.#parts.options, record, reason)
  }

  async onAssigned(places: readonly TopicPartition[]): Promise<void> {
    const wanted = new Set(places.map(partitionKey))
    const removed = [...this.#partitions].filter(([key]) => !wanted.has(key))
    for (const [key, partition] of removed) {
      partition.lose()
      this.#partitions.delete(key)
    }
    const added = places.filter((place) => !this.#partitions.has(partitionKey(place)))
    if (added.length > 0) await this.#insist(() => this.#take(added))
    this.#commits.checkWaiting()
    this.#commits.now()
    if (added.length > 0 || removed.length > 0) this.#fetcher.restart()
    this.#pump()
  }

  async onRevoked(places: readonly TopicPartition[]): Promise<void> {
    const partitions = places.flatMap((place) => this.#partitions.get(partitionKey(place)) ?? [])
    const { maxPollIntervalMs, requestTimeoutMs } = this.#parts.options
    await settledWithin(Promise.all(partitions.map((partition) => partition.revoke())), maxPollIntervalMs)
    await this.#commits.commitEnd(
      partitions,
      AbortSignal.any([AbortSignal.timeout(requestTimeoutMs), this.#released.signal]),
    )
    for (const partition of partitions) {
      partition.lose()
      this.#partitions.delete(partitionKey(partition))
    }
    this.#commits.checkWaiting()
  }

  onLost(): void {
    this.#loseAll()
    this.#commits.checkWaiting()
  }

  onResumed(): void {
    this.#pump()
  }

  onRebalance(): void {
    this.#parts.onRebalance()
  }

  onFailure(error: Error): void {
    if (!this.#stopped.signal.aborted) this.#parts.host.notify({ type: 'readFailed', error })
  }

  /** Looks for new partitions, a first replay, and topics that were deleted. */
  async lookAtTopics(): Promise<void> {
    const { topics, options } = this.#parts
    if (this.#stopped.signal.aborted) return
    const found = await this.#ensureStream()
    const replays = await topics.look(options.topics.replays(options.consumerGroup))
    let isOther = false
    for (const topic of replays === undefined ? [found] : [found, replays]) {
      if (this.#know(topic)) isOther = true
    }
    if (isOther) this.#membership.rejoin()
    this.#fetcher.follow()
  }

  /** Notes what a topic is now. @returns true when it has not the partitions that it had */
  #know(topic: KafkaTopic): boolean {
    const before = this.#known.get(topic.name)
    this.#known.set(topic.name, topic)
    if (before !== undefined && before.id !== topic.id) this.#startOver(topic)
    else if (before !== undefined && topic.name === this.#parts.options.topics.stream)
      this.#compare(before, topic)
    return before?.leaders.length !== topic.leaders.length
  }

  /** Keys are spread over the partitions by their number. */
  #compare({ leaders: before }: KafkaTopic, { name, leaders }: KafkaTopic): void {
    if (leaders.length <= before.length) return
    const detail = `topic ${name} has ${leaders.length} partitions instead of ${before.length}`
    this.#parts.host.notify({ type: 'partitionsAdded', detail })
  }

  /** The stream's topic, which was there when this began. */
  #ensureStream(): Promise<KafkaTopic> {
    const { topics, options, host } = this.#parts
    const { stream } = options.topics
    return topics.ensure(stream, {}, () => {
      host.notify({ type: 'topologyRestored', what: `topic ${stream}` })
    })
  }

  async #subscription(): Promise<readonly { name: string; id: string; partitions: number }[]> {
    const { topics, options } = this.#parts
    const replays = options.topics.replays(options.consumerGroup)
    const found = [await this.#ensureStream(), ...(await topics.lookAll([replays]))]
    for (const topic of found) this.#know(topic)
    return found.map(({ name, id, leaders }) => ({ name, id, partitions: leaders.length }))
  }

  /** Finds out where the group has got to, and owns the partitions from then on. */
  async #take(places: readonly TopicPartition[]): Promise<void> {
    const { cluster, topics, options } = this.#parts
    const member = options.groupProtocol === 'consumer' ? this.#membership.identity : undefined
    const group = options.consumerGroup
    const committed = await committedOffsets(cluster, this.#coordinator, group, member, places)
    const fresh = places.filter((place) => !committed.has(partitionKey(place)))
    const ranges = fresh.length === 0 ? new Map<string, never>() : await logRanges(cluster, topics, fresh)
    for (const place of places) {
      const topicId = topics.known(place.topic)?.id ?? ''
      const beginning =
        this.#latest.get(partitionKey(place))?.end ?? ranges.get(partitionKey(place))?.start ?? 0
      const offset = committed.get(partitionKey(place))?.offset ?? beginning
      const progress = committed.get(partitionKey(place))?.progress ?? readProgress(offset, null)
      this.#partitions.set(
        partitionKey(place),
        new KafkaAssignedPartition(this, { ...place, topicId }, offset, progress),
      )
    }
  }

  async #lookForBeginning(): Promise<void> {
    const { cluster, topics, options } = this.#parts
    const { stream } = options.topics
    const places = (topics.known(stream)?.leaders ?? []).map((_leader, index) => ({ topic: stream, index }))
    const committed = await committedOffsets(
      cluster,
      this.#coordinator,
      options.consumerGroup,
      undefined,
      places,
    )
    if (committed.size === 0) this.#latest = await logRanges(cluster, topics, places)
  }

  async #findRange(partition: KafkaAssignedPartition): Promise<void> {
    const { cluster, topics, host, options } = this.#parts
    const range = (await logRanges(cluster, topics, [partition])).get(partitionKey(partition))
    if (range === undefined) return
    const { position } = partition
    const isLatest = options.autoOffsetReset === 'latest' && partition.topic === options.topics.stream
    const offset = isLatest ? range.end : range.start
    const lost = position < range.start ? range.start - position : undefined
    const detail =
      `${partitionKey(partition)}: offset ${position} is not in the log, which holds ${range.start} to ${range.end}; ` +
      `going on at ${offset}`
    host.notify({ type: 'eventsLost', detail, count: lost })
    partition.restart(offset)
  }

  /** A topic that was created again has none of the events of the old one, and its offsets begin anew. */
  #startOver(topic: KafkaTopic): void {
    const detail = `topic ${topic.name} was deleted and created again; what was not handled of it is gone`
    this.#parts.host.notify({ type: 'eventsLost', detail, count: undefined })
    this.#latest = new Map()
    for (const [key, partition] of this.#partitions) {
      if (partition.topic !== topic.name || partition.topicId === topic.id) continue
      partition.lose()
      const place = { topic: topic.name, index: partition.index, topicId: topic.id }
      this.#partitions.set(key, new KafkaAssignedPartition(this, place, 0, readProgress(0, null)))
    }
    this.#commits.checkWaiting()
    this.#commits.now()
    this.#fetcher.restart()
  }

  #pumpSoon(): void {
    if (this.#isPumping || this.#isPumpWanted) return
    this.#isPumpWanted = true
    queueMicrotask(() => {
      this.#isPumpWanted = false
      this.#pump()
    })
  }

  /** Hands over what was fetched, as far as there is room. */
  #pump(): void {
    if (this.#isPumping || this.#stopped.signal.aborted) return
    this.#isPumping = true
    const { intake, options } = this.#parts
    const { maxInFlight, partitionWindow: window } = options
    const partitions = this.#byTurns()
    const share = Math.ceil(maxInFlight / Math.max(1, partitions.length))
    const allowance = { left: maxInFlight - sum(partitions.map(({ load }) => load)) }
    if (sum(partitions.map(({ uncommitted }) => uncommitted)) * 2 >= maxInFlight) this.#commits.now()
    for (const partition of partitions) {
      if (partition.deliver(intake, { share, allowance, window })) continue
      void this.#pumpWhenRoom()
      break
    }
    this.#isPumping = false
    this.#fetcher.wake()
  }

  /** Where there is room for few, each partition is the first some time. */
  #byTurns(): readonly KafkaAssignedPartition[] {
    const partitions = [...this.#partitions.values()]
    this.#turn += 1
    const start = partitions.length === 0 ? 0 : this.#turn % partitions.length
    return [...partitions.slice(start), ...partitions.slice(0, start)]
  }

  async #pumpWhenRoom(): Promise<void> {
    if (this.#isWaitingForRoom) return
    this.#isWaitingForRoom = true
    await this.#parts.intake.whenRoom()
    this.#isWaitingForRoom = false
    // None after all: the intake is closing.
    if (this.#parts.intake.room > 0) this.#pump()
  }

  #loseAll(): void {
    for (const partition of this.#partitions.values()) partition.lose()
    this.#partitions.clear()
  }

  async #insist(action: () => Promise<void>): Promise<void> {
    for (let failure = 1; !this.#released.signal.aborted; failure += 1) {
      try {
        return await action()
      } catch (thrown) {
        const error = toError(thrown)
        if ('retryable' in error && error.retryable === false) throw error
        if (failure > 3) this.onFailure(error)
      }
      await sleep(AGAIN.backoff(failure), this.#released.signal)
    }
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
