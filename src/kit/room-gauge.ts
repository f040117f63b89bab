/**
 * Delay before a small amount of room is announced, in milliseconds. It prevents a full pipeline from being refilled
 * message by message.
 */
const COALESCE_MS = 5

/**
 * Counts held items, and their bytes, against limits, and notifies callers when there is room for more. An item that is
 * larger than the limit in bytes is accepted if there is room for at least one byte.
 */
export class RoomGauge {
  readonly #limit: number
  readonly #limitBytes: number
  #held = 0
  #heldBytes = 0
  #waiting: PromiseWithResolvers<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #isClosed = false
  #isHeld = false

  constructor(limit: number, limitBytes = Number.POSITIVE_INFINITY) {
    this.#limit = limit
    this.#limitBytes = limitBytes
  }

  get held(): number {
    return this.#held
  }

  /** Number of further items that fit; 0 if the limit in bytes is reached. */
  get room(): number {
    return this.#isHeld || this.roomBytes === 0 ? 0 : Math.max(0, this.#limit - this.#held)
  }

  get roomBytes(): number {
    return Math.max(0, this.#limitBytes - this.#heldBytes)
  }

  take(bytes = 0): void {
    this.#held += 1
    this.#heldBytes += bytes
  }

  free(bytes = 0): void {
    this.#held -= 1
    this.#heldBytes -= bytes
    if (this.#waiting === undefined || this.roomBytes === 0) return
    if (this.room * 4 >= this.#limit && this.#hasManyBytes) this.#notify()
    else this.#timer ??= setTimeout(() => this.#notify(), COALESCE_MS)
  }

  /** Resolves when there is room, or when the gauge is closed. */
  async whenRoom(): Promise<void> {
    while (this.room === 0 && !this.#isClosed) {
      this.#waiting ??= Promise.withResolvers()
      await this.#waiting.promise
    }
  }

  /** Has no room until `unhold`. */
  hold(): void {
    this.#isHeld = true
  }

  unhold(): void {
    this.#isHeld = false
    this.#notify()
  }

  close(): void {
    this.#isClosed = true
    this.#notify()
  }

  get #hasManyBytes(): boolean {
    return this.roomBytes * 4 >= this.#limitBytes
  }

  #notify(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#waiting?.resolve()
    this.#waiting = undefined
  }
}
