/** What the tally needs to know of a dead letter. */
interface Letter {
  readonly id: string
  readonly group: string | undefined
}

export interface GroupTallyParts {
  /** Dead letters after an id, oldest first; all of them from `-` on. An empty page is the end. */
  readonly page: (start: string) => Promise<readonly Letter[]>
  /** The number of dead letters of all groups. */
  readonly total: () => Promise<number>
}

/**
 * Counts the dead letters of each group in the stream that all groups share. A call reads only what was added since the
 * last one, or everything if something was removed.
 */
export class GroupTally {
  readonly #parts: GroupTallyParts
  #counting: Promise<unknown> = Promise.resolve()
  #lastId: string | undefined
  #seen = 0
  /** By group; those that name no group under undefined. */
  readonly #counts = new Map<string | undefined, number>()

  constructor(parts: GroupTallyParts) {
    this.#parts = parts
  }

  /** Dead letters of the group, and those that name no group. One call at a time reads. */
  count(group: string): Promise<number> {
    const counting = this.#counting.catch(() => undefined).then(() => this.#count(group))
    this.#counting = counting
    return counting
  }

  async #count(group: string): Promise<number> {
    await this.#readNew()
    // Fewer than were seen: some of those were removed.
    if ((await this.#parts.total()) < this.#seen) {
      this.#lastId = undefined
      this.#seen = 0
      this.#counts.clear()
      await this.#readNew()
    }
    return (this.#counts.get(group) ?? 0) + (this.#counts.get(undefined) ?? 0)
  }

  async #readNew(): Promise<void> {
    for (;;) {
      const letters = await this.#parts.page(this.#lastId === undefined ? '-' : `(${this.#lastId}`)
      if (letters.length === 0) return
      this.#seen += letters.length
      for (const { group } of letters) this.#counts.set(group, (this.#counts.get(group) ?? 0) + 1)
      this.#lastId = letters.at(-1)?.id
    }
  }
}
