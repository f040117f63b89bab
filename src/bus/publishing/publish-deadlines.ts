/** Time for the transport to report the outcome of the messages after the deadline, in milliseconds. */
const GRACE_MS = 250

/** Maximum time for which expired deadlines may block the event loop, in milliseconds. */
const SLICE_MS = 10

/** What a deadline reports to the deadlines that it belongs to. */
interface Deadlines {
  handedOver(deadline: PublishDeadline): void
  confirmed(): void
  end(deadline: PublishDeadline): void
}

/** The publishes of which no event was passed to the transport yet, in the order of their start. */
export interface WaitingPublishes {
  /** When the first one started, by the monotonic clock; undefined if none waits, or another one comes first. */
  readonly waitingSince: number | undefined
  /** Ends those for which {@link PublishDeadlines.isOver} returns true. */
  expire(): void
}

/** Work that a transport should have ended soon after the deadline. */
export interface OverdueWork {
  /** Called `GRACE_MS` after the deadline. */
  overdue(): void
}

/**
 * The deadline of publishes whose events are passed to the transport: it limits the wait for their confirmation. Publishes
 * that are passed on in the same turn of the event loop can share one, because its signal is expensive.
 */
export class PublishDeadline {
  readonly #deadlines: Deadlines
  readonly #work: OverdueWork[] = []
  #controller: AbortController | undefined
  #onPassed: (() => void) | undefined
  #hasPassed = false
  /** Publishes that have not ended. */
  #publishes = 0
  /** Time at which events were last passed to the transport. */
  since = 0

  constructor(deadlines: Deadlines) {
    this.#deadlines = deadlines
  }

  get hasPassed(): boolean {
    return this.#hasPassed
  }

  /** Aborts when the deadline passes. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#hasPassed) this.#controller.abort()
    }
    return this.#controller.signal
  }

  /** Sets the listener that is called when the deadline passes; undefined for none. */
  onPassed(listener: (() => void) | undefined): void {
    this.#onPassed = listener
  }

  /** Adds a publish. */
  start(): void {
    this.#publishes += 1
  }

  /** Call it when work of its publishes was passed to the transport. The time starts again. */
  handedOver(work: OverdueWork): void {
    this.#work.push(work)
    this.#deadlines.handedOver(this)
  }

  /** Call it when the broker has confirmed events of this publish. The time of all waiting publishes starts again. */
  confirmed(): void {
    this.#deadlines.confirmed()
  }

  /** Call it when a publish has ended. */
  end(): void {
    this.#publishes -= 1
    if (this.#publishes === 0) this.#deadlines.end(this)
  }

  /** Only for {@link PublishDeadlines}. */
  pass(): void {
    this.#hasPassed = true
    this.#controller?.abort()
    this.#onPassed?.()
    setTimeout(() => {
      for (const work of this.#work) work.overdue()
    }, GRACE_MS).unref()
  }
}

/**
 * Deadlines of publishes, with one timer for all. A publish that waits behind others expires only if the broker
 * confirms nothing for the whole time, so a burst is not rejected while the broker makes progress. All deadlines have
 * the same length, so the deadlines of a set pass in the order of the set.
 */
export class PublishDeadlines implements Deadlines {
  readonly #timeoutMs: number
  readonly #waiting: WaitingPublishes
  readonly #handedOver = new Set<PublishDeadline>()
  #confirmedAt = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | undefined
  #areAllOver = false

  constructor(timeoutMs: number, waiting: WaitingPublishes) {
    this.#timeoutMs = timeoutMs
    this.#waiting = waiting
  }

  /** Call it when publishes have started to wait. */
  watch(): void {
    this.#timer ??= this.#arm(this.#timeoutMs)
  }

  /** True if a publish that has waited since this time must not wait any longer. */
  isOver(since: number): boolean {
    return this.#areAllOver || this.#dueAt(since) <= performance.now()
  }

  /** Moves all deadlines forward to now, also those of later publishes. */
  expireAll(): void {
    this.#areAllOver = true
    for (const deadline of this.#handedOver) deadline.pass()
    this.#handedOver.clear()
    this.#waiting.expire()
  }

  handedOver(deadline: PublishDeadline): void {
    deadline.since = performance.now()
    // Moves it to the end.
    this.#handedOver.delete(deadline)
    this.#handedOver.add(deadline)
    this.watch()
  }

  confirmed(): void {
    this.#confirmedAt = performance.now()
  }

  end(deadline: PublishDeadline): void {
    this.#handedOver.delete(deadline)
  }

  #dueAt(waitingSince: number): number {
    return Math.max(waitingSince, this.#confirmedAt) + this.#timeoutMs
  }

  #arm(ms: number): NodeJS.Timeout {
    // The connection, or the attempt to make one, keeps the process alive during a publish. This timer must not.
    return setTimeout(() => this.#check(), ms).unref()
  }

  #check(): void {
    const now = performance.now()
    const next = Math.min(this.#expireHandedOver(now), this.#expireWaiting(now))
    this.#timer = next === Number.POSITIVE_INFINITY ? undefined : this.#arm(Math.max(0, next - now))
  }

  /** @returns when the next one is due, by the monotonic clock; Infinity if there is none. */
  #expireHandedOver(now: number): number {
    for (const deadline of this.#handedOver) {
      const at = deadline.since + this.#timeoutMs
      if (at > now) return at
      // Rejecting a publish takes some time, and a burst has many publishes.
      if (performance.now() - now > SLICE_MS) return now
      this.#handedOver.delete(deadline)
      deadline.pass()
    }
    return Number.POSITIVE_INFINITY
  }

  /** @returns when the next one is due, by the monotonic clock; Infinity if there is none. */
  #expireWaiting(now: number): number {
    const { waitingSince } = this.#waiting
    if (waitingSince === undefined) return Number.POSITIVE_INFINITY
    const at = this.#dueAt(waitingSince)
    if (at > now) return at
    this.#waiting.expire()
    // They are ended in slices.
    return now + SLICE_MS
  }
}
