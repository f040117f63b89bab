/** Runs asynchronous work one piece at a time, in the order of the calls. A failure does not stop the work that follows. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve()

  /** @returns what the work resolves to; rejects as it does. */
  runExclusive<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#last.then(work)
    this.#last = run.catch(() => undefined)
    return run
  }
}
