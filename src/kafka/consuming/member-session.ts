export interface MemberSessionParts {
  readonly timeoutMs: number
  readonly isMember: () => boolean
  /** Called when a heartbeat confirms an expired session. */
  readonly onResumed: () => void
}

/** The time within which the group keeps this member without a heartbeat. */
export class MemberSession {
  readonly #parts: MemberSessionParts
  #confirmedAt = 0

  constructor(parts: MemberSessionParts) {
    this.#parts = parts
  }

  get isLive(): boolean {
    return this.#parts.isMember() && performance.now() - this.#confirmedAt < this.#parts.timeoutMs
  }

  /**
   * Records that the coordinator confirmed the membership.
   *
   * @param sentAt - when the request was sent. An answer may be read long after it arrived, if this process was frozen.
   * @param wasLive - whether the session was live before the answer was applied.
   */
  confirm(sentAt: number, wasLive = this.isLive): void {
    this.#confirmedAt = Math.max(this.#confirmedAt, sentAt)
    if (!wasLive && this.isLive) this.#parts.onResumed()
  }
}
