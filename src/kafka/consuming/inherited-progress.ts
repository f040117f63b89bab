import type { AttemptHistory, PartitionProgress } from '../wire/progress.ts'

const NOT_STARTED: AttemptHistory = { count: 0, settledHandlers: [] }
const MAYBE_STARTED: AttemptHistory = { count: 1, settledHandlers: [] }

/** The progress that the previous owner of a partition committed. It holds for records not delivered since. */
export class InheritedProgress {
  #progress: PartitionProgress
  #isBounded = false

  constructor(progress: PartitionProgress) {
    this.#progress = progress
  }

  /**
   * Excludes records that did not exist when this consumer took over: the previous owner announced offsets ahead of the
   * log, and cannot have started records that were published later. Only the first call has an effect.
   *
   * @param logEnd - the end of the log, read after the takeover.
   */
  bound(logEnd: number): void {
    if (this.#isBounded) return
    this.#isBounded = true
    if (logEnd < this.#progress.openUpTo) this.#progress = { ...this.#progress, openUpTo: logEnd }
  }

  /** Forgets the records from an offset on: the log has others there now. */
  cut(offset: number): void {
    const { openUpTo, finished, attempts } = this.#progress
    this.#progress = {
      openUpTo: Math.min(openUpTo, offset),
      finished: finished.flatMap(([from, to]) =>
        from < offset ? [[from, Math.min(to, offset)] as const] : [],
      ),
      attempts: new Map([...attempts].filter(([at]) => at < offset)),
    }
  }

  /** Earlier attempts of a record; undefined if the record is finished. */
  historyOf(offset: number): AttemptHistory | undefined {
    const { finished, attempts, openUpTo } = this.#progress
    if (offset >= openUpTo && attempts.size === 0 && finished.length === 0) return NOT_STARTED
    if (finished.some(([from, to]) => offset >= from && offset < to)) return undefined
    return attempts.get(offset) ?? (offset < openUpTo ? MAYBE_STARTED : NOT_STARTED)
  }

  /** The end of the range that the previous owner may have started; 0 if everything in it was delivered since. */
  openUpTo(deliveredUpTo: number): number {
    return this.#progress.openUpTo > deliveredUpTo ? this.#progress.openUpTo : 0
  }

  /** Copies the entries of records that were not delivered since. */
  copyTo(
    { attempts, finished }: { attempts: Map<number, AttemptHistory>; finished: [number, number][] },
    deliveredUpTo: number,
  ): void {
    for (const [offset, history] of this.#progress.attempts) {
      if (offset >= deliveredUpTo) attempts.set(offset, history)
    }
    for (const [from, to] of this.#progress.finished) {
      const start = Math.max(from, deliveredUpTo)
      if (to > start) finished.push([start, to])
    }
  }
}
