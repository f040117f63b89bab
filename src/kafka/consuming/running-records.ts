/** The records of a partition of which an attempt runs, or a copy is being stored. It is not handed over meanwhile. */
export class RunningRecords {
  #count = 0
  #none: PromiseWithResolvers<void> | undefined

  add(record: { isRunning: boolean }): void {
    if (record.isRunning) return
    record.isRunning = true
    this.#count += 1
  }

  /** The record is finished or given back, or it waits for its next attempt. */
  remove(record: { isRunning: boolean }): void {
    if (!record.isRunning) return
    record.isRunning = false
    this.#count -= 1
    if (this.#count === 0) this.release()
  }

  /** Resolves when no record runs, or `release` is called. */
  whenNone(): Promise<void> {
    if (this.#count === 0) return Promise.resolve()
    this.#none ??= Promise.withResolvers()
    return this.#none.promise
  }

  /** Ends the wait of `whenNone`. */
  release(): void {
    this.#none?.resolve()
  }
}
