import { IdleCounter } from './idle-counter.ts'
import type { Slots } from './slots.ts'

/**
 * Handles one item. Must not throw or reject. If it returns false, or a promise of false, the lane stops and the item stays
 * at its head.
 */
export type LaneWork<T> = (item: T) => Promise<unknown> | unknown

/**
 * Handles items with the same key one after the other, in the order of `push`, and items with different keys concurrently,
 * as far as there are slots. A lane releases its slot after an item if another lane is waiting for one.
 */
export class Lanes<T> {
  readonly #slots: Slots
  readonly #work: LaneWork<T>
  readonly #stopping: AbortSignal
  readonly #lanes = new Map<string, T[]>()
  readonly #open = new IdleCounter()

  /** @param stopping - once it aborts, no further item is started; waiting items stay in their lanes. */
  constructor(slots: Slots, stopping: AbortSignal, work: LaneWork<T>) {
    this.#slots = slots
    this.#stopping = stopping
    this.#work = work
  }

  push(key: string, item: T): void {
    const lane = this.#lanes.get(key)
    if (lane !== undefined) {
      lane.push(item)
      return
    }
    const opened = [item]
    this.#lanes.set(key, opened)
    this.#open.start()
    this.#slots.take(() => void this.#advance(key, opened))
  }

  /** Resolves when no lane is running or waiting for a slot. */
  whenIdle(): Promise<void> {
    return this.#open.whenIdle()
  }

  /** Runs a lane, which holds a slot, until it is empty or stopped, or another lane waits for a slot. */
  async #advance(key: string, lane: T[]): Promise<void> {
    for (let [item] = lane; item !== undefined; [item] = lane) {
      if (this.#stopping.aborted) break
      const outcome = this.#work(item)
      // Await only asynchronous work: the await would be most of the cost of a synchronous handler.
      if ((outcome instanceof Promise ? await outcome : outcome) === false) break
      lane.shift()
      if (lane.length > 0 && this.#slots.isContended) {
        this.#slots.take(() => void this.#advance(key, lane))
        this.#slots.release()
        return
      }
    }
    if (lane.length === 0) this.#lanes.delete(key)
    this.#slots.release()
    this.#open.end()
  }
}
