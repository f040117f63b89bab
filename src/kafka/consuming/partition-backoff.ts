import { READ_BACKOFF } from '../../kit/backoff.ts'
import type { KafkaAssignedPartition } from './assigned-partition.ts'

interface Failures {
  /** In a row. */
  readonly count: number
  /** When the partition may be fetched again, by the monotonic clock. */
  readonly retryAt: number
}

/** The partitions that could not be read, each with a wait of its own: the others of its leader go on. */
export class PartitionBackoff {
  readonly #failures = new WeakMap<KafkaAssignedPartition, Failures>()

  isDue(partition: KafkaAssignedPartition): boolean {
    return this.#waitMs(partition) <= 0
  }

  /** @returns the number of failures in a row. */
  onFailure(partition: KafkaAssignedPartition): number {
    const count = (this.#failures.get(partition)?.count ?? 0) + 1
    this.#failures.set(partition, { count, retryAt: performance.now() + READ_BACKOFF.backoff(count) })
    return count
  }

  onSuccess(partition: KafkaAssignedPartition): void {
    this.#failures.delete(partition)
  }

  /** Time until the first waiting partition is due, in milliseconds; Infinity if none waits. */
  nextDueMs(partitions: readonly KafkaAssignedPartition[]): number {
    const waits = partitions.map((partition) => this.#waitMs(partition)).filter((ms) => ms > 0)
    return Math.min(...waits)
  }

  #waitMs(partition: KafkaAssignedPartition): number {
    const { retryAt } = this.#failures.get(partition) ?? { retryAt: 0 }
    return retryAt - performance.now()
  }
}
