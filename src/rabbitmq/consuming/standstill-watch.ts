/** Longest interval between two checks, in milliseconds. */
const MAX_INTERVAL_MS = 5000

/**
 * Detects that this process was suspended, or its event loop blocked, for longer than the heartbeat. The broker may have
 * closed the connection by then, and given its messages to another consumer. The process learns of that only after it has
 * read all messages that its socket still holds.
 */
export class StandstillWatch {
  readonly #limitMs: number
  readonly #onStandstill: (elapsedMs: number) => void
  /** When the event loop last had a turn, by the monotonic clock. */
  #lastTurnAt = performance.now()
  #timer: NodeJS.Timeout | undefined

  /** @param limitMs - the heartbeat, in milliseconds. */
  constructor(limitMs: number, onStandstill: (elapsedMs: number) => void) {
    this.#limitMs = limitMs
    this.#onStandstill = onStandstill
  }

  start(): void {
    this.#lastTurnAt = performance.now()
    const intervalMs = Math.min(this.#limitMs / 4, MAX_INTERVAL_MS)
    this.#timer = setInterval(() => this.check(), intervalMs).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** True if the last turn was the limit or longer ago. */
  get isStandstill(): boolean {
    return performance.now() - this.#lastTurnAt >= this.#limitMs
  }

  /**
   * Records a turn of the event loop. Reports a standstill if the time since the previous turn has reached the limit.
   */
  check(): void {
    const elapsedMs = performance.now() - this.#lastTurnAt
    this.#lastTurnAt = performance.now()
    if (elapsedMs >= this.#limitMs) this.#onStandstill(elapsedMs)
  }
}
