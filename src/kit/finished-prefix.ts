/** Passed items are removed from the array in chunks of at least this many, so that the cost per item is constant. */
const CHUNK = 1024

/**
 * Items in the order in which they started. They finish in any order; an item is passed once it and all items before it
 * are finished.
 */
export class FinishedPrefix<T extends { readonly isFinished: boolean }> implements Iterable<T> {
  #items: T[] = []
  #head = 0

  push(item: T): void {
    this.#items.push(item)
  }

  /** The first item that is not passed; undefined if there is none. */
  get first(): T | undefined {
    return this.#items[this.#head]
  }

  /** Passes items up to the first unfinished one. @returns the last passed item; undefined if none was passed. */
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

  /** Replaces an item that is not passed. */
  replace(item: T, replacement: T): void {
    const index = this.#items.indexOf(item, this.#head)
    if (index >= 0) this.#items[index] = replacement
  }

  /** Removes items that are not passed, unless they are to be kept. */
  keep(isKept: (item: T) => boolean): void {
    this.#items = [...this].filter(isKept)
    this.#head = 0
  }

  /** Calls a function for each item that is not passed, in order. Faster than an iteration. */
  forEach(visit: (item: T) => void): void {
    for (let index = this.#head; index < this.#items.length; index += 1) {
      const item = this.#items[index]
      if (item !== undefined) visit(item)
    }
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
