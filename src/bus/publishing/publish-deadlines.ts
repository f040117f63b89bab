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

/**
 * The deadline of one publish: it limits the wait until the events are passed to the transport, and then the wait for
 * their confirmation. A burst starts many deadlines at once, so each creates only what is used.
 */
export class PublishDeadline {
  readonly #deadlines: Deadlines
  #controller: AbortController | undefined
  #onPassed: (() => void) | undefined
  /** Undefined until there is one. */
  #overdueListeners: (() => void)[] | undefined
  #hasPassed = false
  /** False once its events were passed to the transport, or the publish has ended. */
  isWaiting = true
  /** Time of the start of the publish, later of the last time that its events were passed to the transport. */
  since = performance.now()

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

  /** Adds a listener that is called `GRACE_MS` after the deadline. */
  onOverdue(listener: () => void): void {
    this.#overdueListeners ??= []
    this.#overdueListeners.push(listener)
    if (this.#hasPassed) setTimeout(listener, GRACE_MS).unref()
  }

  /** Call it when events of this publish were passed to the transport. The time starts again. */
  handedOver(): void {
    this.#deadlines.handedOver(this)
  }

  /** Call it when the broker has confirmed events of this publish. The time of all waiting publishes starts again. */
  confirmed(): void {
    this.#deadlines.confirmed()
  }

  /** Call it when the publish has ended. */
  end(): void {
    this.#deadlines.end(this)
  }

  /** Only for {@link PublishDeadlines}. */
  pass(): void {
    this.#hasPassed = true
    this.#controller?.abort()
    this.#onPassed?.()
    const listeners = this.#overdueListeners
    if (listeners === undefined) return
    setTimeout(() => {
      for (const listener of listeners) listener()
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
  /** In the order of their start, also those that no longer wait, until the first one that waits. */
  #waiting: PublishDeadline[] = []
  #head = 0
  readonly #handedOver = new Set<PublishDeadline>()
  #confirmedAt = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | undefined

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs
  }

  start(): PublishDeadline {
    const deadline = new PublishDeadline(this)
    this.#waiting.push(deadline)
    this.#timer ??= this.#arm(this.#timeoutMs)
    return deadline
  }

  /** Moves all deadlines forward to now. */
  expireAll(): void {
    for (const deadline of this.#handedOver) deadline.pass()
    this.#handedOver.clear()
    for (let first = this.#firstWaiting(); first !== undefined; first = this.#firstWaiting()) {
      first.isWaiting = false
      first.pass()
    }
  }

  handedOver(deadline: PublishDeadline): void {
    if (!deadline.isWaiting && !this.#handedOver.delete(deadline)) return
    deadline.isWaiting = false
    deadline.since = performance.now()
    this.#handedOver.add(deadline)
  }

  confirmed(): void {
    this.#confirmedAt = performance.now()
  }

  end(deadline: PublishDeadline): void {
    if (!deadline.isWaiting) this.#handedOver.delete(deadline)
    deadline.isWaiting = false
    // Forgets the deadlines that no longer wait.
    this.#firstWaiting()
  }

  #firstWaiting(): PublishDeadline | undefined {
    let first = this.#waiting[this.#head]
    while (first !== undefined && !first.isWaiting) {
      this.#head += 1
      first = this.#waiting[this.#head]
    }
    if (this.#head >= 1024 && this.#head * 2 >= this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#head)
      this.#head = 0
    }
    return first
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
      const at = this.#dueAt(deadline.since, now)
      if (at !== undefined) return at
      this.#handedOver.delete(deadline)
      deadline.pass()
    }
    return Number.POSITIVE_INFINITY
  }

  /** @returns when the next one is due, by the monotonic clock; Infinity if there is none. */
  #expireWaiting(now: number): number {
    for (let first = this.#firstWaiting(); first !== undefined; first = this.#firstWaiting()) {
      const at = this.#dueAt(Math.max(first.since, this.#confirmedAt), now)
      if (at !== undefined) return at
      first.isWaiting = false
      first.pass()
    }
    return Number.POSITIVE_INFINITY
  }

  /** @returns when a deadline is to be checked again; undefined if it is due now. */
  #dueAt(since: number, now: number): number | undefined {
    const at = since + this.#timeoutMs
    if (at > now) return at
    // Rejecting a publish takes some time, and a burst has many publishes.
    return performance.now() - now > SLICE_MS ? now : undefined
  }
}
