/** Rows in memory, by key. A transaction has its own table on top of the shared one. */
export class MemoryTable<V> {
  readonly #base: MemoryTable<V> | undefined
  /** The rows of this table; undefined for a row of the base that this table has removed. */
  readonly #rows = new Map<string, V | undefined>()

  constructor(base?: MemoryTable<V>) {
    this.#base = base
  }

  get(key: string): V | undefined {
    return this.#rows.has(key) ? this.#rows.get(key) : this.#base?.get(key)
  }

  set(key: string, row: V): void {
    this.#rows.set(key, row)
  }

  /** Removes a row. @returns true if it existed. */
  delete(key: string): boolean {
    const isThere = this.get(key) !== undefined
    if (this.#base === undefined) this.#rows.delete(key)
    else this.#rows.set(key, undefined)
    return isThere
  }

  rows(): readonly V[] {
    const ofBase = this.#base?.keys() ?? []
    return [...new Set([...ofBase, ...this.#rows.keys()])]
      .map((key) => this.get(key))
      .filter((row) => row !== undefined)
  }

  keys(): readonly string[] {
    return [...new Set([...(this.#base?.keys() ?? []), ...this.#rows.keys()])]
  }

  /** Writes the changes of this table to its base. */
  commit(): void {
    for (const [key, row] of this.#rows) {
      if (row === undefined) this.#base?.delete(key)
      else this.#base?.set(key, row)
    }
    this.#rows.clear()
  }
}
