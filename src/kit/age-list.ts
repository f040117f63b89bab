/** An item of an {@link AgeList}. */
export class Aged {
  /** When it was created, by the monotonic clock. */
  readonly at = performance.now()
  before: Aged | undefined
  after: Aged | undefined
}

/** Items by age. Linked, because a Set has to hash each of them. */
export class AgeList {
  #oldest: Aged | undefined
  #newest: Aged | undefined

  /** Age of the oldest item, in milliseconds; 0 if there is none. */
  get oldestMs(): number {
    return this.#oldest === undefined ? 0 : Math.max(0, performance.now() - this.#oldest.at)
  }

  /** @param item - not older than any other. */
  add(item: Aged): void {
    item.before = this.#newest
    if (this.#newest === undefined) this.#oldest = item
    else this.#newest.after = item
    this.#newest = item
  }

  /** @param item - in the list. */
  delete({ before, after }: Aged): void {
    if (before === undefined) this.#oldest = after
    else before.after = after
    if (after === undefined) this.#newest = before
    else after.before = before
  }
}
