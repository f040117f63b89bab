import { READ_BACKOFF } from '../../kit/backoff.ts'
import { retryUntilDone } from '../../kit/retry-until-done.ts'
import { settledWithin } from '../../kit/time.ts'
import { partitionKey, type TopicPartition } from '../client/topic-partition.ts'
import { isRetryable } from '../errors.ts'
import type { CommittedOffset } from './offsets.ts'
import { QUIET_FAILURES } from './quiet-failures.ts'

/** How long an assignment waits for the brokers to say where its partitions start, in milliseconds. */
const TOGETHER_MS = 5000

export interface PartitionStartsParts {
  /** The broker that leads a partition; -1 if it has none or is unknown. */
  readonly leaderOf: (partition: TopicPartition) => number
  /** Reads where partitions start. @throws ConnectionError */
  readonly read: (partitions: readonly TopicPartition[]) => Promise<ReadonlyMap<string, CommittedOffset>>
  /** Owns a partition from its start on. */
  readonly own: (partition: TopicPartition, start: CommittedOffset) => void
  /** Called after partitions were owned that the assignment did not wait for. */
  readonly onLate: () => void
  readonly onFailure: (error: Error) => void
  /** Aborts when the consumer ends. */
  readonly released: AbortSignal
}

/**
 * Finds out where assigned partitions start, leader by leader. Partitions whose leader is silent or gone follow when it
 * answers: until then they hold back neither the other partitions nor the next rebalance of the group.
 */
export class PartitionStarts {
  readonly #parts: PartitionStartsParts
  /** Assigned partitions that are not owned yet. */
  readonly #pending = new Map<string, TopicPartition>()

  constructor(parts: PartitionStartsParts) {
    this.#parts = parts
  }

  /** Assigned partitions that are not owned yet, because their leader has not answered. */
  get pending(): readonly TopicPartition[] {
    return [...this.#pending.values()]
  }

  has(key: string): boolean {
    return this.#pending.has(key)
  }

  /**
   * Owns partitions. Resolves when all are owned, or after 5 seconds: then the others follow.
   * @throws ConnectionError that no retry can fix.
   */
  async take(partitions: readonly TopicPartition[]): Promise<void> {
    for (const partition of partitions) this.#pending.set(partitionKey(partition), partition)
    const byLeader = Map.groupBy(partitions, (partition) => this.#parts.leaderOf(partition))
    const late = new AbortController()
    const all = Promise.all([...byLeader.values()].map((ofLeader) => this.#takeOf(ofLeader, late.signal)))
    if (await settledWithin(all, TOGETHER_MS)) await all
    late.abort()
  }

  /** The partitions are not assigned any more. */
  drop(partitions: readonly TopicPartition[]): void {
    for (const partition of partitions) this.#pending.delete(partitionKey(partition))
  }

  /** Only partitions with these keys are still assigned. */
  keepOnly(keys: ReadonlySet<string>): void {
    for (const key of this.#pending.keys()) if (!keys.has(key)) this.#pending.delete(key)
  }

  dropAll(): void {
    this.#pending.clear()
  }

  async #takeOf(partitions: readonly TopicPartition[], late: AbortSignal): Promise<void> {
    const { onFailure, onLate, released } = this.#parts
    await retryUntilDone(
      async (attempt) => {
        // One partition that cannot be read must not hold back the others of its leader.
        const groups = attempt === 1 ? [partitions] : partitions.map((partition) => [partition])
        const results = await Promise.allSettled(groups.map((group) => this.#read(group)))
        if (late.aborted && results.some(({ status }) => status === 'fulfilled')) onLate()
        for (const result of results) if (result.status === 'rejected') throw result.reason
      },
      {
        backoff: READ_BACKOFF,
        signal: released,
        onFailure: (error, failure) => {
          if (!isRetryable(error) && !late.aborted) throw error
          if (failure > QUIET_FAILURES) onFailure(error)
        },
      },
    )
  }

  /** Owns those of the partitions that are still to be owned. @throws ConnectionError */
  async #read(partitions: readonly TopicPartition[]): Promise<void> {
    // An assignment that was lost and comes back is another object.
    const wanted = () => partitions.filter((it) => this.#pending.get(partitionKey(it)) === it)
    const asked = wanted()
    if (asked.length === 0) return
    const starts = await this.#parts.read(asked)
    for (const partition of wanted()) {
      const key = partitionKey(partition)
      this.#pending.delete(key)
      const start = starts.get(key)
      if (start !== undefined) this.#parts.own(partition, start)
    }
  }
}
