/** A small amount of room is announced only after this delay (ms), so that a full pipeline is not refilled one by one. */
const COALESCE_MS = 5

/** Counts held items against a limit, and notifies callers when there is room for more. */
export class RoomGauge {
  readonly #limit: number
  #held = 0
  #waiting: PromiseWithResolvers<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(limit: number) {
    this.#limit = limit
  }

  get held(): number {
    return this.#held
  }

  get room(): number {
    return Math.max(0, this.#limit - this.#held)
  }

  take(): void {
    this.#held += 1
  }

  free(): void {
    this.#held -= 1
    if (this.#waiting === undefined) return
    if (this.room * 4 >= this.#limit) this.#notify()
    else this.#timer ??= setTimeout(() => this.#notify(), COALESCE_MS)
  }

  /** Resolves when there is room, or when the gauge is closed. */
  async whenRoom(): Promise<void> {
    while (this.room === 0 && !this.#isClosed) {
      this.#waiting ??= Promise.withResolvers()
      await this.#waiting.promise
    }
  }

  close(): void {
    this.#isClosed = true
    this.#notify()
  }

  #notify(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#waiting?.resolve()
    this.#waiting = undefined
  }
}
