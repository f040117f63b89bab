/** How late a turn may be without delaying those after it, in milliseconds. */
const TOLERANCE_MS = 20

/** The rates that the members of groups share. */
export class MemoryRates {
  /** When the next turn of each name is free, by the monotonic clock. */
  readonly #nextAt = new Map<string, number>()

  /** Takes a turn if one is free. @returns 0 if it was taken; otherwise the time until the next one, in milliseconds. */
  take(name: string, ratePerSecond: number): number {
    const now = performance.now()
    const at = this.#nextAt.get(name) ?? 0
    if (at > now) return Math.ceil(at - now)
    this.#nextAt.set(name, Math.max(at, now - TOLERANCE_MS) + 1000 / ratePerSecond)
    return 0
  }
}
