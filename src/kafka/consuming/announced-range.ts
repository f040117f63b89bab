/** Records that a commit announces ahead of the last delivered one, at low load. */
const MIN_RESERVE = 64
/** The same at high load. The reserve doubles each time that delivery has to wait for an announcement. */
const MAX_RESERVE = 4096

/**
 * The offsets that the last commit announced as possibly started. A record is delivered only within the range, so that
 * the next owner counts an attempt that a crash interrupts.
 */
export class AnnouncedRange {
  #end: number
  #reserve = MIN_RESERVE

  constructor(offset: number) {
    this.#end = offset
  }

  has(offset: number): boolean {
    return offset < this.#end
  }

  /** True if the range must be extended by a commit soon, or before the record can be delivered. */
  needsExtension(offset: number): boolean {
    const left = this.#end - offset
    if (left > this.#reserve / 2) return false
    if (left <= 0) this.#reserve = Math.min(MAX_RESERVE, this.#reserve * 2)
    return true
  }

  /** The end to announce in the next commit. */
  nextEnd(deliveredUpTo: number): number {
    return deliveredUpTo + this.#reserve
  }

  onCommitted(end: number): void {
    this.#end = end
  }
}
