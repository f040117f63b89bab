/** Rows in memory by key; a transaction has a table of its own over the shared one. */
export class MemoryTable<V> {
  readonly #base: MemoryTable<V> | undefined
  /** Own rows; undefined for one that the base has and this table has removed. */
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

  /** @returns true if it was there. */
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

  /** Puts what was written here into the table below. */
  commit(): void {
    for (const [key, row] of this.#rows) {
      if (row === undefined) this.#base?.delete(key)
      else this.#base?.set(key, row)
    }
    this.#rows.clear()
  }
}
