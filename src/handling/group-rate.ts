import { Mutex } from '../kit/mutex.ts'
import { sleep } from '../kit/time.ts'

/**
 * Takes a turn from the rate that the members of a group share, if one is free. Never rejects.
 * @returns 0 if it was taken; otherwise the time after which to try again, in milliseconds.
 */
export type TakeTurn = (handlerName: string, ratePerSecond: number) => Promise<number>

/** Returns how to take turns; a string with the reason if the members of a group cannot share a rate. */
export type GroupTurns = () => TakeTurn | string

export const NO_GROUP: GroupTurns = () => 'no group shares a rate here; use ratePerSecond'

/** The turns of one handler in this process. One run at a time asks for a turn, so that a stop wastes none. */
export class GroupRate {
  readonly #take: () => Promise<number>
  readonly #asking = new Mutex()

  constructor(take: () => Promise<number>) {
    this.#take = take
  }

  /** Waits for a turn. @returns false if the signal aborts first. */
  turn(stopping: AbortSignal): Promise<boolean> {
    return this.#asking.runExclusive(async () => {
      while (!stopping.aborted) {
        const waitMs = await this.#take()
        if (waitMs === 0) return !stopping.aborted
        await sleep(waitMs, stopping)
      }
      return false
    })
  }
}
