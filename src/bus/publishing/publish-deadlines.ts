/** One publish under way. */
export interface PublishDeadline {
  /** Aborts when the time is up. */
  readonly signal: AbortSignal
  /** Resolves when a transport that ought to have answered by then has had a moment more. */
  readonly overdue: Promise<void>
  end(): void
}

/** How long a transport may take to say what became of the messages after the time was up, in milliseconds. */
const GRACE_MS = 250

interface Entry {
  readonly controller: AbortController
  readonly overdue: PromiseWithResolvers<void>
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
    const entry = {
      controller: new AbortController(),
      overdue: Promise.withResolvers<void>(),
      at: performance.now() + this.#timeoutMs,
    }
    this.#entries.add(entry)
    this.#timer ??= this.#arm(this.#timeoutMs)
    const { controller, overdue } = entry
    return { signal: controller.signal, overdue: overdue.promise, end: () => this.#entries.delete(entry) }
  }

  /** Lets the time of all that are under way be up. */
  endAll(): void {
    for (const entry of this.#entries) expire(entry)
    this.#entries.clear()
  }

  #arm(ms: number): NodeJS.Timeout {
    // The connection, or the wait for it, keeps the process alive while a publish is under way; this must not.
    return setTimeout(() => this.#check(), ms).unref()
  }

  #check(): void {
    this.#timer = undefined
    const now = performance.now()
    for (const entry of this.#entries) {
      if (entry.at > now) {
        this.#timer = this.#arm(entry.at - now)
        return
      }
      this.#entries.delete(entry)
      expire(entry)
    }
  }
}

function expire({ controller, overdue }: Entry): void {
  controller.abort()
  setTimeout(() => overdue.resolve(), GRACE_MS).unref()
}
