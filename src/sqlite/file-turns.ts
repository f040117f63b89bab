/** The writers of one file in this process. */
interface Writers {
  isWriting: boolean
  /** Start of the current turn, by the monotonic clock. */
  since: number
  readonly waiting: (() => void)[]
}

/** By the path of the file. */
const files = new Map<string, Writers>()

/**
 * The turns of one `SqliteStores` among all that write to the same file in this process. SQLite has no queue for its
 * lock: a writer that retries at random times may starve while others write without a pause.
 */
export class FileTurns {
  readonly #path: string

  constructor(path: string) {
    this.#path = path
  }

  /**
   * Waits for the turn, in the order of the calls.
   * @param limitMs - maximum duration of another writer's turn until this one gives up, in milliseconds.
   * @returns a function that ends the turn; undefined if it gave up. A promise only if it must wait.
   */
  take(limitMs: number): (() => void) | Promise<(() => void) | undefined> {
    const writers = files.get(this.#path) ?? { isWriting: false, since: 0, waiting: [] }
    files.set(this.#path, writers)
    return writers.isWriting ? this.#wait(writers, limitMs) : this.#start(writers)
  }

  #start(writers: Writers): () => void {
    writers.isWriting = true
    writers.since = performance.now()
    return () => this.#end(writers)
  }

  #wait(writers: Writers, limitMs: number): Promise<(() => void) | undefined> {
    return new Promise((resolve) => {
      const start = () => {
        clearTimeout(timer)
        resolve(this.#start(writers))
      }
      const check = () => {
        const leftMs = writers.since + limitMs - performance.now()
        if (leftMs > 0) timer = setTimeout(check, leftMs)
        else {
          writers.waiting.splice(writers.waiting.indexOf(start), 1)
          resolve(undefined)
        }
      }
      let timer = setTimeout(check, limitMs)
      writers.waiting.push(start)
    })
  }

  #end(writers: Writers): void {
    const next = writers.waiting.shift()
    if (next !== undefined) {
      next()
      return
    }
    writers.isWriting = false
    files.delete(this.#path)
  }
}
