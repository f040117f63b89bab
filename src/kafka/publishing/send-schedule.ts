export interface SendScheduleParts {
  /** Longest time to gather records while more keep coming, in milliseconds. */
  readonly lingerMs: number
  readonly send: () => void
}

/** Decides when a producer sends: when a burst of records has ended, and when the delay of a retry has passed. */
export class SendSchedule {
  readonly #parts: SendScheduleParts
  #added = 0
  #isGathering = false
  #timer: NodeJS.Timeout | undefined
  /** When the timer fires, by the monotonic clock. */
  #timerAt = 0
  #isClosed = false

  constructor(parts: SendScheduleParts) {
    this.#parts = parts
  }

  /** Records the arrival of a new record. */
  added(): void {
    this.#added += 1
    this.sendSoon()
  }

  /** Sends as soon as one turn of the event loop adds no record, or after `lingerMs`. */
  sendSoon(): void {
    if (this.#isGathering || this.#isClosed) return
    this.#isGathering = true
    const since = performance.now()
    let seen = this.#added
    const check = () => {
      if (seen !== this.#added && performance.now() - since < this.#parts.lingerMs) {
        seen = this.#added
        setImmediate(check)
        return
      }
      this.#isGathering = false
      this.#parts.send()
    }
    setImmediate(check)
  }

  /** Sends in `ms` milliseconds at the latest. */
  sendIn(ms: number): void {
    if (this.#isClosed) return
    const at = performance.now() + ms
    if (this.#timer !== undefined && this.#timerAt <= at) return
    clearTimeout(this.#timer)
    this.#timerAt = at
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.sendSoon()
    }, ms + 1)
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }
}
