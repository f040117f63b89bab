/** Passed items are dropped from the array in chunks of this many, so that each item costs the same. */
const CHUNK = 1024

/**
 * Items in the order in which they were started, of which only a finished prefix counts: an item is passed once it and
 * every item before it is finished.
 */
export class FinishedPrefix<T extends { readonly isFinished: boolean }> implements Iterable<T> {
  #items: T[] = []
  #head = 0

  push(item: T): void {
    this.#items.push(item)
  }

  /** The first item that is not passed; undefined if all are. */
  get first(): T | undefined {
    return this.#items[this.#head]
  }

  /** Passes the items that are finished by now. @returns the last of them; undefined if there is none. */
  advance(onPassed?: (item: T) => void): T | undefined {
    let last: T | undefined
    for (let next = this.first; next?.isFinished === true; next = this.first) {
      last = next
      onPassed?.(next)
      this.#head += 1
    }
    this.#trim()
    return last
  }

  /** Puts another item in the place of one that is not passed. */
  replace(item: T, replacement: T): void {
    const index = this.#items.indexOf(item, this.#head)
    if (index >= 0) this.#items[index] = replacement
  }

  /** The items that are not passed, in order. */
  *[Symbol.iterator](): Iterator<T> {
    for (let index = this.#head; index < this.#items.length; index += 1) {
      const item = this.#items[index]
      if (item !== undefined) yield item
    }
  }

  #trim(): void {
    if (this.#head === this.#items.length) this.#items = []
    else if (this.#head > CHUNK) this.#items.splice(0, this.#head)
    else return
    this.#head = 0
  }
}
