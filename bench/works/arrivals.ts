import type { Order } from '../order.ts'

/** Tracks which events have arrived, ignoring repeated deliveries, and their rate. */
export class Arrivals {
  readonly #count: number
  readonly #seen: Uint8Array
  readonly #all = Promise.withResolvers<number>()
  readonly #first = Promise.withResolvers<void>()
  #distinct = 0
  #start = 0

  constructor(count: number) {
    this.#count = count
    this.#seen = new Uint8Array(count)
  }

  /** Events per second from the first event to the last. Declaring and joining happen once, before the first event. */
  get whenAll(): Promise<number> {
    return this.#all.promise
  }

  get whenFirst(): Promise<void> {
    return this.#first.promise
  }

  readonly note = ({ total }: Order): void => {
    if (this.#seen[total] === 1) return
    this.#seen[total] = 1
    this.#distinct += 1
    if (this.#distinct === 1) {
      this.#start = performance.now()
      this.#first.resolve()
    }
    if (this.#distinct < this.#count) return
    this.#all.resolve((this.#count / (performance.now() - this.#start)) * 1000)
  }
}
