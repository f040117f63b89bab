/** More ids than a sweep reads ahead. */
const REMEMBERED = 10_000

/** Lets one call at a time replay a dead letter, among those of this process, and none after that. */
export class ReplayTurns {
  readonly #running = new Set<string>()
  readonly #replayed = new Set<string>()

  /** @returns false if another call replays the dead letter, or has replayed it. */
  take(id: string): boolean {
    if (this.#running.has(id) || this.#replayed.has(id)) return false
    this.#running.add(id)
    return true
  }

  end(id: string, isReplayed: boolean): void {
    this.#running.delete(id)
    if (!isReplayed) return
    this.#replayed.add(id)
    const [oldest = id] = this.#replayed
    if (this.#replayed.size > REMEMBERED) this.#replayed.delete(oldest)
  }
}
