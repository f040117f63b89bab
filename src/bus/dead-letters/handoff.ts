/** Passes items from a producer to an iterator, a page at a time: the producer waits until the iterator has taken them. */
export class Handoff<T> {
  #page: T[] = []
  #isEnded = false
  #wakeIterator = Promise.withResolvers<void>()
  #wakeProducer = Promise.withResolvers<void>()

  add(item: T): void {
    this.#page.push(item)
  }

  /** Resolves when the iterator has taken all items, or has ended. */
  async taken(): Promise<void> {
    if (this.#page.length === 0 || this.#isEnded) return
    this.#wakeIterator.resolve()
    await this.#wakeProducer.promise
  }

  end(): void {
    this.#isEnded = true
    this.#wakeIterator.resolve()
    this.#wakeProducer.resolve()
  }

  async *items(): AsyncGenerator<T, void> {
    for (;;) {
      await this.#wakeIterator.promise
      const page = this.#page
      this.#page = []
      yield* page
      if (this.#isEnded && this.#page.length === 0) return
      if (this.#isEnded) continue
      this.#wakeIterator = Promise.withResolvers<void>()
      const wakeProducer = this.#wakeProducer
      this.#wakeProducer = Promise.withResolvers<void>()
      wakeProducer.resolve()
    }
  }
}
