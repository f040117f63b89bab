import { toError } from '../../errors.ts'
import { RetryPolicy } from '../../kit/retry-policy.ts'
import { sleep } from '../../kit/time.ts'
import type { KafkaSession } from '../client/cluster.ts'
import type { KafkaCoordinator } from '../client/coordinator.ts'
import type { OffsetCommitTopic } from '../client/protocol.ts'
import { partitionKey } from '../client/topic-partition.ts'
import { CODE, isPassing, refusal } from '../errors.ts'
import type { ResolvedKafkaOptions } from '../options.ts'
import { METADATA_BYTES, writeProgress } from '../wire/progress.ts'
import type { CommitState, KafkaAssignedPartition } from './assigned-partition.ts'
import type { MemberIdentity } from './membership.ts'

const AGAIN = new RetryPolicy({
  maxRetries: Number.POSITIVE_INFINITY,
  retryBaseDelayMs: 20,
  retryMaxDelayMs: 1000,
  retryJitter: 0.2,
})

/** The partition is no longer this member's to commit; the membership finds out for itself. */
const NOT_OURS: ReadonlySet<number> = new Set([
  CODE.UNKNOWN_MEMBER_ID,
  CODE.ILLEGAL_GENERATION,
  CODE.FENCED_INSTANCE_ID,
  CODE.FENCED_MEMBER_EPOCH,
])

export interface KafkaCommitsParts {
  readonly options: ResolvedKafkaOptions
  readonly session: () => KafkaSession
  readonly coordinator: KafkaCoordinator
  readonly identity: () => MemberIdentity | undefined
  readonly partitions: () => Iterable<KafkaAssignedPartition>
  /** Called after a commit, which may have made room. */
  readonly onCommitted: () => void
  readonly onFailure: (error: Error) => void
}

/**
 * Commits in the background: one commit on its way at a time, of all partitions that have news, on a timer, at a count
 * or when asked. Nobody who handles events waits for it.
 */
export class KafkaCommits {
  readonly #parts: KafkaCommitsParts
  readonly #closed = new AbortController()
  readonly #waiting = new Set<{
    partition: KafkaAssignedPartition
    version: number
    tell: (ok: boolean) => void
  }>()
  /** Those whose last commit is on its way: an ordinary one behind it would take its place. */
  readonly #ending = new WeakSet<KafkaAssignedPartition>()
  #committing: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #metadataBytes = METADATA_BYTES
  #failures = 0
  #isWantedAgain = false

  constructor(parts: KafkaCommitsParts) {
    this.#parts = parts
  }

  /** Commits soon, in the time of `commitIntervalMs` at the latest. */
  note(partition: KafkaAssignedPartition): void {
    if (this.#closed.signal.aborted) return
    if (partition.uncommitted >= this.#parts.options.commitCount) this.now()
    else this.#timer ??= setTimeout(() => this.now(), this.#parts.options.commitIntervalMs)
  }

  /** Commits now, or as soon as the commit on its way has been answered. */
  now(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#closed.signal.aborted) return
    if (this.#committing !== undefined) {
      this.#isWantedAgain = true
      return
    }
    this.#isWantedAgain = false
    this.#committing = this.#commitWhatIsNew().finally(() => {
      this.#committing = undefined
      if (this.#isWantedAgain) this.now()
    })
  }

  /** Resolves to true when what is known of the partition now is committed; false when it was lost before. */
  committed(partition: KafkaAssignedPartition): Promise<boolean> {
    if (partition.isLost || this.#closed.signal.aborted) return Promise.resolve(false)
    const { promise, resolve } = Promise.withResolvers<boolean>()
    this.#waiting.add({ partition, version: partition.version, tell: resolve })
    this.now()
    return promise
  }

  /** The last commit of some partitions, of which nothing more begins. Tries until it works or the signal aborts. */
  async commitEnd(partitions: readonly KafkaAssignedPartition[], signal: AbortSignal): Promise<void> {
    for (const partition of partitions) this.#ending.add(partition)
    await this.#committing
    for (let failure = 1; !signal.aborted; failure += 1) {
      const ours = partitions.filter(({ isLost }) => !isLost)
      if (ours.length === 0 || (await this.#commit(ours, true))) return
      await sleep(AGAIN.backoff(failure), signal)
    }
  }

  /** Tells those who wait in vain: for partitions that were lost. */
  checkWaiting(): void {
    for (const waiter of this.#waiting) {
      if (waiter.partition.isLost) this.#tell(waiter, false)
      else if (waiter.partition.committedVersion >= waiter.version) this.#tell(waiter, true)
    }
  }

  close(): void {
    this.#closed.abort()
    clearTimeout(this.#timer)
    for (const waiter of this.#waiting) this.#tell(waiter, false)
  }

  #tell(waiter: { tell: (ok: boolean) => void } & object, ok: boolean): void {
    // The set holds the very object.
    this.#waiting.delete(waiter as never)
    waiter.tell(ok)
  }

  async #commitWhatIsNew(): Promise<void> {
    const dirty = [...this.#parts.partitions()].filter(
      (partition) => partition.isDirty && !this.#ending.has(partition),
    )
    if (dirty.length > 0) {
      const isDone = await this.#commit(dirty, false)
      this.#failures = isDone ? 0 : this.#failures + 1
      if (!isDone) {
        this.#isWantedAgain = true
        await sleep(AGAIN.backoff(this.#failures), this.#closed.signal)
      }
    }
    this.checkWaiting()
    this.#parts.onCommitted()
  }

  /** @returns false when some of it has to be tried again */
  async #commit(partitions: readonly KafkaAssignedPartition[], isEnd: boolean): Promise<boolean> {
    const { options, coordinator, session, identity, onFailure } = this.#parts
    const member = identity()
    if (member === undefined) return false
    const states = new Map(partitions.map((partition) => [partition, partition.commitState(isEnd)]))
    try {
      const { memberId, generation, groupInstanceId } = member
      const { topics } = await coordinator.request('commit', session().apis.offsetCommit, [
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
      const outcomes = [...states].map(([partition, state]) =>
        this.#settle(partition, state, codes.get(partitionKey(partition)) ?? CODE.NONE),
      )
      return outcomes.every((isDone) => isDone)
    } catch (thrown) {
      const error = toError(thrown)
      if ('retryable' in error && error.retryable === false) onFailure(error)
      return false
    }
  }

  #settle(partition: KafkaAssignedPartition, state: CommitState, code: number): boolean {
    const { coordinator, options, onFailure } = this.#parts
    if (code === CODE.NONE) {
      partition.onCommitted(state)
      return true
    }
    coordinator.heed(code)
    if (code === CODE.OFFSET_METADATA_TOO_LARGE) {
      this.#metadataBytes = Math.floor(this.#metadataBytes / 2)
      return false
    }
    const isPassed =
      code === CODE.REBALANCE_IN_PROGRESS || code === CODE.STALE_MEMBER_EPOCH || isPassing(code)
    if (isPassed || NOT_OURS.has(code)) return false
    onFailure(refusal(options.address, `Committing offsets of ${partition.topic}`, code))
    return false
  }

  #topics(states: ReadonlyMap<KafkaAssignedPartition, CommitState>): readonly OffsetCommitTopic[] {
    const byTopic = new Map<string, OffsetCommitTopic['partitions'][number][]>()
    for (const [{ topic, index }, { offset, progress }] of states) {
      const partitions = byTopic.get(topic) ?? []
      byTopic.set(topic, partitions)
      partitions.push({
        partitionIndex: index,
        committedOffset: BigInt(offset),
        committedLeaderEpoch: -1,
        committedMetadata:
          this.#metadataBytes < 100 ? '' : writeProgress(offset, progress, this.#metadataBytes),
      })
    }
    return [...byTopic].map(([name, partitions]) => ({ name, partitions }))
  }
}
