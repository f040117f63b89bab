import { READ_BACKOFF } from '../../kit/backoff.ts'

interface Failures {
  /** In a row. */
  readonly count: number
  /** When the partition may be fetched again, by the monotonic clock. */
  readonly retryAt: number
}

/** Which partitions may be fetched now, and how long it takes until another one may. */
export interface DuePartitions<P> {
  readonly due: readonly P[]
  /** Time until the first other partition is due, in milliseconds; Infinity if all are due. */
  readonly nextDueMs: number
}

/** The partitions that could not be read, each with a wait of its own: the others of its leader go on. */
export class PartitionBackoff<P extends WeakKey> {
  readonly #failures = new WeakMap<P, Failures>()

  /** @returns the number of failures in a row. */
  onFailure(partition: P): number {
    const count = (this.#failures.get(partition)?.count ?? 0) + 1
    this.#failures.set(partition, { count, retryAt: performance.now() + READ_BACKOFF.backoff(count) })
    return count
  }

  onSuccess(partition: P): void {
    this.#failures.delete(partition)
  }

  /** Reads the clock once. With two readings, a partition that becomes due in between would be in neither result. */
  divide(partitions: readonly P[]): DuePartitions<P> {
    const now = performance.now()
    const waits = partitions.map(
      (partition) => [partition, (this.#failures.get(partition)?.retryAt ?? 0) - now] as const,
    )
    return {
      due: waits.filter(([, ms]) => ms <= 0).map(([partition]) => partition),
      nextDueMs: Math.min(...waits.map(([, ms]) => ms).filter((ms) => ms > 0)),
    }
  }
}
