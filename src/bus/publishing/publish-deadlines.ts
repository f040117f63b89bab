/** The deadline of one publish. */
export interface PublishDeadline {
  /** Aborts when the deadline passes. */
  readonly signal: AbortSignal
  /** Resolves `GRACE_MS` after the deadline. */
  readonly overdue: Promise<void>
  end(): void
}

/** Time for the transport to report the outcome of the messages after the deadline, in milliseconds. */
const GRACE_MS = 250

/** Longest time for which expired deadlines may hold the event loop, in milliseconds. */
const SLICE_MS = 10

interface Entry {
  readonly controller: AbortController
  readonly overdue: PromiseWithResolvers<void>
  readonly at: number
}

/** Deadlines of publishes, with one timer for all: they are equally long, so they pass in the order of their start. */
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

  /** Brings all deadlines forward to now. */
  expireAll(): void {
    for (const entry of this.#entries) expire(entry)
    this.#entries.clear()
  }

  #arm(ms: number): NodeJS.Timeout {
    // The connection, or the attempt to make one, keeps the process alive during a publish. This timer must not.
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
      // Failing a publish takes its time, and a burst has many.
      if (performance.now() - now > SLICE_MS) {
        this.#timer = this.#arm(0)
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
