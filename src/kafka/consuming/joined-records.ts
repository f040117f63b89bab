type Joined = readonly (readonly [line: string, id: string])[]

/**
 * The records that this process has stored behind others, until a reading of the topic that started later has ended. A
 * reading that started before may have read some of them.
 */
export class JoinedRecords {
  /** The ids of the waits of each line. */
  readonly #lines = new Map<string, Set<string>>()

  add(line: string, id: string): void {
    const ids = this.#lines.get(line) ?? new Set()
    this.#lines.set(line, ids.add(id))
  }

  /** The number of records of a line: those that were read, and those that are known here only. */
  countWith(line: string, read: readonly string[]): number {
    const joined = this.#lines.get(line)
    return joined === undefined ? read.length : new Set([...read, ...joined]).size
  }

  all(): Joined {
    return [...this.#lines].flatMap(([line, ids]) => [...ids].map((id) => [line, id] as const))
  }

  remove(records: Joined): void {
    for (const [line, id] of records) {
      const ids = this.#lines.get(line)
      ids?.delete(id)
      if (ids?.size === 0) this.#lines.delete(line)
    }
  }
}
