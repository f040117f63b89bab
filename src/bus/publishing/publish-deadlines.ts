/**
 * The deadline of one publish: it limits the wait until the events are passed to the transport, and then the wait for
 * their confirmation.
 */
export interface PublishDeadline {
  /** Aborts when the deadline passes. */
  readonly signal: AbortSignal
  /** Resolves `GRACE_MS` after the deadline. */
  readonly overdue: Promise<void>
  /** Call it when events of this publish were passed to the transport. The time starts again. */
  handedOver(): void
  /** Call it when the broker has confirmed events of this publish. The time of all waiting publishes starts again. */
  confirmed(): void
  end(): void
}

/** Time for the transport to report the outcome of the messages after the deadline, in milliseconds. */
const GRACE_MS = 250

/** Maximum time for which expired deadlines may block the event loop, in milliseconds. */
const SLICE_MS = 10

interface Entry {
  readonly controller: AbortController
  readonly overdue: PromiseWithResolvers<void>
  /** Time of the start of the publish, later of the last time that its events were passed to the transport. */
  since: number
}

/**
 * Deadlines of publishes, with one timer for all. A publish that waits behind others expires only if the broker
 * confirms nothing for the whole time, so a burst is not rejected while the broker makes progress. All deadlines have
 * the same length, so the deadlines of a set pass in the order of the set.
 */
export class PublishDeadlines {
  readonly #timeoutMs: number
  readonly #waiting = new Set<Entry>()
  readonly #handedOver = new Set<Entry>()
  #confirmedAt = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | undefined

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs
  }

  start(): PublishDeadline {
    const entry: Entry = {
      controller: new AbortController(),
      overdue: Promise.withResolvers<void>(),
      since: performance.now(),
    }
    this.#waiting.add(entry)
    this.#timer ??= this.#arm(this.#timeoutMs)
    const { controller, overdue } = entry
    return {
      signal: controller.signal,
      overdue: overdue.promise,
      handedOver: () => this.#onHandedOver(entry),
      confirmed: () => {
        this.#confirmedAt = performance.now()
      },
      end: () => void (this.#waiting.delete(entry) || this.#handedOver.delete(entry)),
    }
  }

  /** Moves all deadlines forward to now. */
  expireAll(): void {
    for (const entries of [this.#waiting, this.#handedOver]) {
      for (const entry of entries) expire(entry)
      entries.clear()
    }
  }

  #onHandedOver(entry: Entry): void {
    if (!this.#waiting.delete(entry) && !this.#handedOver.delete(entry)) return
    entry.since = performance.now()
    this.#handedOver.add(entry)
  }

  #arm(ms: number): NodeJS.Timeout {
    // The connection, or the attempt to make one, keeps the process alive during a publish. This timer must not.
    return setTimeout(() => this.#check(), ms).unref()
  }

  #check(): void {
    const now = performance.now()
    const next = Math.min(
      this.#expireFirst(this.#handedOver, Number.NEGATIVE_INFINITY, now),
      this.#expireFirst(this.#waiting, this.#confirmedAt, now),
    )
    this.#timer = next === Number.POSITIVE_INFINITY ? undefined : this.#arm(Math.max(0, next - now))
  }

  /**
   * Expires the entries at the front of a set that have had their time since `notBefore`.
   * @returns when the next one is due, by the monotonic clock; Infinity if there is none.
   */
  #expireFirst(entries: Set<Entry>, notBefore: number, now: number): number {
    for (const entry of entries) {
      const at = Math.max(entry.since, notBefore) + this.#timeoutMs
      if (at > now) return at
      // Rejecting a publish takes some time, and a burst has many publishes.
      if (performance.now() - now > SLICE_MS) return now
      entries.delete(entry)
      expire(entry)
    }
    return Number.POSITIVE_INFINITY
  }
}

function expire({ controller, overdue }: Entry): void {
  controller.abort()
  setTimeout(() => overdue.resolve(), GRACE_MS).unref()
}
