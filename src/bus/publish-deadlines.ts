/** One publish under way. */
export interface PublishDeadline {
  readonly signal: AbortSignal
  end(): void
}

interface Entry {
  readonly controller: AbortController
  readonly at: number
}

/** Deadlines of publishes with one timer for all: they have the same length, so they end in the order they began. */
export class PublishDeadlines {
  readonly #timeoutMs: number
  readonly #entries = new Set<Entry>()
  #timer: NodeJS.Timeout | undefined

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs
  }

  start(): PublishDeadline {
    const entry = { controller: new AbortController(), at: Date.now() + this.#timeoutMs }
    this.#entries.add(entry)
    this.#timer ??= this.#arm(this.#timeoutMs)
    return { signal: entry.controller.signal, end: () => this.#entries.delete(entry) }
  }

  /** Lets the time of all that are under way be up. */
  endAll(): void {
    for (const { controller } of this.#entries) controller.abort()
    this.#entries.clear()
  }

  #arm(ms: number): NodeJS.Timeout {
    // The connection, or the wait for it, keeps the process alive while a publish is under way; this must not.
    return setTimeout(() => this.#check(), ms).unref()
  }

  #check(): void {
    this.#timer = undefined
    const now = Date.now()
    for (const entry of this.#entries) {
      if (entry.at > now) {
        this.#timer = this.#arm(entry.at - now)
        return
      }
      this.#entries.delete(entry)
      entry.controller.abort()
    }
  }
}
