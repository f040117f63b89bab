import { Slots } from '../../kit/slots.ts'
import { type Sleep, sleep } from '../../kit/time.ts'

/** How long one suspected poison message may run exclusively before the next suspect starts, in milliseconds. */
const SUSPECT_HOLD_MS = 5000

/** The `concurrency` slots in which handlers run, and the ways to give up a slot temporarily. */
export class HandlingSlots {
  readonly slots: Slots
  readonly #suspects = new Slots(1)
  readonly #stopping: AbortSignal
  readonly #sleep: Sleep

  /** @param stopping - ends every pause. */
  constructor(concurrency: number, stopping: AbortSignal, sleepFor: Sleep = sleep) {
    this.slots = new Slots(concurrency)
    this.#stopping = stopping
    this.#sleep = sleepFor
  }

  /** Waits without a slot. @returns false if the pipeline is stopping, or the signal aborts. */
  async sleep(delayMs: number, ended: AbortSignal): Promise<boolean> {
    const isOver = await this.#sleep(delayMs, this.#stopping, ended)
    return isOver && !this.#stopping.aborted
  }

  /**
   * Releases the caller's slot for a time.
   * @returns false if the pipeline is stopping.
   */
  async pause(delayMs: number): Promise<boolean> {
    this.slots.release()
    const isOver = await this.#sleep(delayMs, this.#stopping)
    await this.slots.taken()
    return isOver && !this.#stopping.aborted
  }

  /**
   * Gives the caller's slot to others while work runs that is no handler, and may take longer than many handlers. The caller
   * has its slot again at once, even if handlers run in all others: it must run no more handlers.
   */
  async without<T>(work: () => Promise<T>): Promise<T> {
    this.slots.release()
    try {
      return await work()
    } finally {
      this.slots.takeAnyway()
    }
  }

  /**
   * Waits, without a slot, until no other suspect runs.
   * @returns a function that lets the next suspect start; it is also called after `SUSPECT_HOLD_MS`.
   */
  async acquireExclusive(): Promise<() => void> {
    this.slots.release()
    await this.#suspects.taken()
    await this.slots.taken()
    const release = once(() => this.#suspects.release())
    const timer = setTimeout(release, SUSPECT_HOLD_MS)
    return () => {
      clearTimeout(timer)
      release()
    }
  }
}

function once(action: () => void): () => void {
  let isDone = false
  return () => {
    if (isDone) return
    isDone = true
    action()
  }
}
