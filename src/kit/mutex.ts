/** Runs asynchronous work one piece at a time, in the order of the calls. A failure does not stop the work that follows. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve()

  /** @returns the result of the work. @throws what the work rejects with. */
  runExclusive<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#last.then(work)
    this.#last = run.catch(() => undefined)
    return run
  }
}
