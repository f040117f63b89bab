import { toError } from '../../errors.ts'
import { REQUEST_BACKOFF } from '../../kit/backoff.ts'
import { sleep } from '../../kit/time.ts'
import type { KafkaCluster } from '../client/cluster.ts'
import type { KafkaCoordinator } from '../client/coordinator.ts'
import type { OffsetCommitTopic } from '../client/protocol.ts'
import { partitionKey } from '../client/topic-partition.ts'
import { CODE, isPassing, isRetryable, refusal } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import { METADATA_BYTES, writeProgress } from '../wire/progress.ts'
import type { KafkaAssignedPartition } from './assigned-partition.ts'
import type { CommitState } from './commit-state.ts'
import type { MemberIdentity } from './membership.ts'

/** Commits with less room for metadata have none. */
const MIN_METADATA_BYTES = 100

/** Error codes that the membership handles: this member may not commit the partition at present, or no longer. */
const MEMBERSHIP_CODES: ReadonlySet<number> = new Set([
  CODE.UNKNOWN_MEMBER_ID,
  CODE.ILLEGAL_GENERATION,
  CODE.FENCED_INSTANCE_ID,
  CODE.FENCED_MEMBER_EPOCH,
  CODE.REBALANCE_IN_PROGRESS,
  CODE.STALE_MEMBER_EPOCH,
])

export interface KafkaCommitsParts {
  readonly options: ResolvedKafkaOptions
  readonly cluster: KafkaCluster
  readonly coordinator: KafkaCoordinator
  readonly identity: () => MemberIdentity | undefined
  readonly partitions: () => Iterable<KafkaAssignedPartition>
  /** Reads the present ids of topics from the brokers; without those that do not exist. @throws ConnectionError */
  readonly topicIds: (names: readonly string[]) => Promise<ReadonlyMap<string, string>>
  /** Called after a commit, which may have made room for deliveries. */
  readonly onCommitted: () => void
  readonly onFailure: (error: Error) => void
}

/** A caller that waits until a version of a partition's state is committed. */
interface CommitWaiter {
  readonly partition: KafkaAssignedPartition
  readonly version: number
  readonly resolve: (isCommitted: boolean) => void
}

/**
 * Commits offsets in the background, at most one commit at a time. A commit contains every partition whose state changed
 * since its last one. It is sent after `commitIntervalMs`, at `commitCount` finished events, or on request.
 */
export class KafkaCommits {
  readonly #parts: KafkaCommitsParts
  readonly #closed = new AbortController()
  readonly #waiters = new Set<CommitWaiter>()
  /** Partitions whose final commit is in flight. A background commit after it would overwrite it. */
  readonly #finalizing = new WeakSet<KafkaAssignedPartition>()
  /**
   * Partitions whose topic was unknown to the coordinator. A commit names a topic, not its id: the offset of a deleted
   * topic would make the group skip the first events of the topic that replaces it.
   */
  readonly #unverified = new WeakSet<KafkaAssignedPartition>()
  #committing: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #metadataBytes = METADATA_BYTES
  #failures = 0
  #isRequestedAgain = false

  constructor(parts: KafkaCommitsParts) {
    this.#parts = parts
  }

  /** Schedules a commit within `commitIntervalMs`. */
  schedule(partition: KafkaAssignedPartition): void {
    if (this.#closed.signal.aborted) return
    if (partition.uncommitted >= this.#parts.options.commitCount) this.commitNow()
    else this.#timer ??= setTimeout(() => this.commitNow(), this.#parts.options.commitIntervalMs)
  }

  /** Commits now, or as soon as the commit in flight is answered. */
  commitNow(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#closed.signal.aborted) return
    if (this.#committing !== undefined) {
      this.#isRequestedAgain = true
      return
    }
    this.#isRequestedAgain = false
    this.#committing = this.#commitChanged().finally(() => {
      this.#committing = undefined
      if (this.#isRequestedAgain) this.commitNow()
    })
  }

  /** Resolves to true when the partition's present state is committed, to false if the partition is lost first. */
  whenCommitted(partition: KafkaAssignedPartition): Promise<boolean> {
    if (partition.isLost || this.#closed.signal.aborted) return Promise.resolve(false)
    const { promise, resolve } = Promise.withResolvers<boolean>()
    this.#waiters.add({ partition, version: partition.version, resolve })
    this.commitNow()
    return promise
  }

  /**
   * Commits partitions of which no more records start. Retries until it succeeds or the signal aborts. Topics that were
   * deleted, or replaced by another topic with the same name, are omitted.
   */
  async commitFinal(partitions: readonly KafkaAssignedPartition[], signal: AbortSignal): Promise<void> {
    for (const partition of partitions) {
      this.#finalizing.add(partition)
      this.#unverified.add(partition)
    }
    await this.#committing
    for (let failure = 1; !signal.aborted; failure += 1) {
      const owned = partitions.filter(({ isLost }) => !isLost)
      if (owned.length === 0 || (await this.#commit(owned, true))) return
      for (const partition of owned) this.#unverified.add(partition)
      await sleep(REQUEST_BACKOFF.backoff(failure), signal)
    }
  }

  /** Resolves the waiters whose partition is lost or whose version is committed. */
  settleWaiters(): void {
    for (const waiter of this.#waiters) {
      const { partition, version } = waiter
      if (partition.isLost) this.#settleWaiter(waiter, false)
      else if (partition.committedVersion >= version) this.#settleWaiter(waiter, true)
    }
  }

  close(): void {
    this.#closed.abort()
    clearTimeout(this.#timer)
    for (const waiter of this.#waiters) this.#settleWaiter(waiter, false)
  }

  #settleWaiter(waiter: CommitWaiter, isCommitted: boolean): void {
    this.#waiters.delete(waiter)
    waiter.resolve(isCommitted)
  }

  async #commitChanged(): Promise<void> {
    const changed = [...this.#parts.partitions()].filter(
      (partition) => partition.isDirty && !this.#finalizing.has(partition),
    )
    if (changed.length > 0) {
      const isDone = await this.#commit(changed, false)
      this.#failures = isDone ? 0 : this.#failures + 1
      if (!isDone) {
        this.#isRequestedAgain = true
        await sleep(REQUEST_BACKOFF.backoff(this.#failures), this.#closed.signal)
      }
    }
    this.settleWaiters()
    this.#parts.onCommitted()
  }

  /** @returns false if a part of it has to be retried. */
  async #commit(partitions: readonly KafkaAssignedPartition[], isFinal: boolean): Promise<boolean> {
    const { options, coordinator, identity, onFailure } = this.#parts
    if (options.broadcast) {
      for (const partition of partitions) partition.onCommitted(partition.commitState(isFinal))
      return true
    }
    const member = identity()
    if (member === undefined) return false
    try {
      const current = await this.#ofCurrentTopics(partitions)
      // The topic of a final commit that is gone does not come back with the same id.
      const isSkipped = !isFinal && current.length < partitions.length
      if (current.length === 0) return !isSkipped
      const states = new Map(current.map((partition) => [partition, partition.commitState(isFinal)]))
      const { memberId, generation, groupInstanceId } = member
      const { topics } = await coordinator.request('commit', ({ offsetCommit }) => offsetCommit, [
        options.consumerGroup,
        generation,
        memberId,
        groupInstanceId,
        this.#topics(states),
      ])
      const codes = new Map<string, number>()
      for (const { name, partitions: results } of topics) {
        for (const { partitionIndex, errorCode } of results) {
          codes.set(partitionKey({ topic: name, index: partitionIndex }), errorCode)
        }
      }
      const results = [...states].map(([partition, state]) =>
        this.#onAnswer(partition, state, codes.get(partitionKey(partition)) ?? CODE.NONE),
      )
      return !isSkipped && results.every((isDone) => isDone)
    } catch (thrown) {
      const error = toError(thrown)
      if (!isRetryable(error)) onFailure(error)
      return false
    }
  }

  /** The partitions without those whose topic is gone, or has been replaced by another one. @throws ConnectionError */
  async #ofCurrentTopics(
    partitions: readonly KafkaAssignedPartition[],
  ): Promise<readonly KafkaAssignedPartition[]> {
    const doubtful = partitions.filter((partition) => this.#unverified.has(partition))
    if (doubtful.length === 0) return partitions
    const ids = await this.#parts.topicIds([...new Set(doubtful.map(({ topic }) => topic))])
    for (const partition of doubtful) {
      if (ids.get(partition.topic) === partition.topicId) this.#unverified.delete(partition)
    }
    return partitions.filter((partition) => !partition.isLost && !this.#unverified.has(partition))
  }

  #onAnswer(partition: KafkaAssignedPartition, state: CommitState, code: number): boolean {
    const { coordinator, options, onFailure } = this.#parts
    if (code === CODE.NONE) {
      partition.onCommitted(state)
      return true
    }
    coordinator.invalidateOn(code)
    if (code === CODE.UNKNOWN_TOPIC_OR_PARTITION) this.#unverified.add(partition)
    if (code === CODE.OFFSET_METADATA_TOO_LARGE) this.#metadataBytes = Math.floor(this.#metadataBytes / 2)
    else if (!MEMBERSHIP_CODES.has(code) && !isPassing(code))
      onFailure(refusal(options.address, `Committing offsets of ${partition.topic}`, code))
    return false
  }

  #topics(states: ReadonlyMap<KafkaAssignedPartition, CommitState>): readonly OffsetCommitTopic[] {
    const byTopic = new Map<string, OffsetCommitTopic['partitions'][number][]>()
    for (const [{ topic, index }, { offset, epoch, progress }] of states) {
      const partitions = byTopic.get(topic) ?? []
      byTopic.set(topic, partitions)
      partitions.push({
        partitionIndex: index,
        committedOffset: BigInt(offset),
        committedLeaderEpoch: epoch ?? -1,
        committedMetadata:
          this.#metadataBytes < MIN_METADATA_BYTES
            ? ''
            : writeProgress(offset, progress, this.#metadataBytes),
      })
    }
    return [...byTopic].map(([name, partitions]) => ({ name, partitions }))
  }
}
