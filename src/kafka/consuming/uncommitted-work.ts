import type { LeaderEpochs } from './leader-epochs.ts'

/** Finished records, and the epochs of the leaders that wrote them. An offset and its epoch identify a record. */
interface FinishedRange {
  readonly from: number
  /** Excluded. */
  readonly to: number
  readonly epochs: LeaderEpochs
}

/**
 * Records of one partition that this consumer finished, and could not commit because the group had evicted it. If it gets
 * the partition back before another member has committed them, it does not handle them again.
 */
export class UncommittedWork {
  #ranges: readonly FinishedRange[] = []
  /** The committed offset when the partition was lost. */
  #committed = 0

  /** Adds the work in a partition that was lost. */
  lost(
    committed: number,
    ranges: readonly (readonly [from: number, to: number])[],
    epochs: LeaderEpochs,
  ): void {
    this.#committed = committed
    const added = ranges.map(([from, to]) => ({ from, to, epochs })).filter(({ from, to }) => from < to)
    this.#ranges = [...this.#ranges, ...added]
  }

  /** Adds a record whose handlers still ran when the partition was lost. */
  finishedLate(offset: number, epochs: LeaderEpochs): void {
    this.#ranges = [...this.#ranges, { from: offset, to: offset + 1, epochs }]
  }

  /** The partition is owned again, from its committed offset on. */
  regained(committed: number): void {
    // An operator has reset the offsets of the group: its members are to handle these records again.
    if (committed < this.#committed) this.#ranges = []
    this.committed(committed)
  }

  /** Forgets the records before an offset. */
  committed(offset: number): void {
    if (this.#ranges.length > 0) this.#ranges = this.#ranges.filter(({ to }) => to > offset)
  }

  /** @param epochs - those of the log as it is read now. A log that was cut has other records at the same offsets. */
  has(offset: number, epochs: LeaderEpochs): boolean {
    if (this.#ranges.length === 0) return false
    const epoch = epochs.before(offset + 1)
    const isSame = ({ from, to, epochs: former }: FinishedRange) =>
      from <= offset && offset < to && former.before(offset + 1) === epoch
    return epoch !== undefined && this.#ranges.some(isSame)
  }
}
