import type { EpochStart } from '../wire/record-reader.ts'

/** The epochs of the leaders that wrote the records of a partition, as far back as the committed offset. */
export class LeaderEpochs {
  #starts: readonly EpochStart[] = []

  /** @param committed - the epoch of the record before the first offset to read, if the commit has it. */
  constructor(committed: number | undefined) {
    if (committed !== undefined) this.#starts = [{ from: -1, epoch: committed }]
  }

  /** The epoch of the record before an offset; undefined if it is unknown. */
  before(offset: number): number | undefined {
    return this.#starts.findLast(({ from }) => from < offset)?.epoch
  }

  add(starts: readonly EpochStart[]): void {
    const last = this.#starts.at(-1)?.epoch
    const added = starts[0]?.epoch === last ? starts.slice(1) : starts
    if (added.length > 0) this.#starts = [...this.#starts, ...added]
  }

  /** Forgets what is older than the record before an offset. */
  trim(offset: number): void {
    const first = this.#starts.findLastIndex(({ from }) => from < offset)
    if (first > 0) this.#starts = this.#starts.slice(first)
  }

  /** Forgets the records from an offset on, which are no longer in the log. */
  cut(offset: number): void {
    this.#starts = this.#starts.filter(({ from }) => from < offset)
  }

  clear(): void {
    this.#starts = []
  }
}
