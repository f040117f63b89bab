import { IdleCounter } from './idle-counter.ts'
import type { Slots } from './slots.ts'

/**
 * Handles one item. False, or a promise of it, stops the lane at this item: the item stays at its head. It must not throw
 * or reject.
 */
export type LaneWork<T> = (item: T) => Promise<unknown> | unknown

/**
 * Handles items with the same key one after the other, in the order of their coming, and items with different keys
 * concurrently, as far as the slots allow. A lane gives its slot up after an item if other lanes wait for one.
 */
export class Lanes<T> {
  readonly #slots: Slots
  readonly #work: LaneWork<T>
  readonly #stopping: AbortSignal
  readonly #lanes = new Map<string, T[]>()
  readonly #open = new IdleCounter()

  /** @param stopping - once it aborts, no item is started; those that wait stay where they are. */
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

  /** Resolves when no lane is being worked on or waits for a slot. */
  whenIdle(): Promise<void> {
    return this.#open.whenIdle()
  }

  /** Works on a lane, holding a slot, until the lane is empty or stopped, or another lane waits for the slot. */
  async #advance(key: string, lane: T[]): Promise<void> {
    for (let [item] = lane; item !== undefined; [item] = lane) {
      if (this.#stopping.aborted) break
      const outcome = this.#work(item)
      // No await unless the work is asynchronous: it would be most of the cost of a synchronous handler.
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
