import { Slots } from '../kit/slots.ts'
import { settledUntil, sleep } from '../kit/time.ts'

/** How late a run may be without lowering the rate of those that follow, in milliseconds: timers are not exact. */
const TOLERANCE_MS = 20

let created = 0

/** Limits the runs of one handler in this process: how many at the same time, and how many per second. */
export class HandlerLimit {
  /** Limits are taken in this order, so that no two events wait for each other. */
  readonly rank: number
  readonly #slots: Slots | undefined
  readonly #intervalMs: number
  /** When the next run may start, by the monotonic clock. */
  #nextAt = 0

  constructor({
    concurrency,
    ratePerSecond,
  }: { concurrency?: number | undefined; ratePerSecond?: number | undefined }) {
    created += 1
    this.rank = created
    this.#slots = concurrency === undefined ? undefined : new Slots(concurrency)
    this.#intervalMs = ratePerSecond === undefined ? 0 : 1000 / ratePerSecond
  }

  /** Waits until a run may start; call `release` when it has ended. @returns false if the signal aborts first. */
  async take(stopping: AbortSignal): Promise<boolean> {
    if (this.#slots !== undefined && !(await takenUntil(this.#slots, stopping))) return false
    if (await this.#onTurn(stopping)) return true
    this.release()
    return false
  }

  release(): void {
    this.#slots?.release()
  }

  async #onTurn(stopping: AbortSignal): Promise<boolean> {
    if (this.#intervalMs === 0) return !stopping.aborted
    const now = performance.now()
    const at = Math.max(this.#nextAt, now - TOLERANCE_MS)
    this.#nextAt = at + this.#intervalMs
    return at <= now ? !stopping.aborted : sleep(at - now, stopping)
  }
}

async function takenUntil(slots: Slots, stopping: AbortSignal): Promise<boolean> {
  const taken = slots.taken()
  if (await settledUntil(taken, stopping)) return true
  void taken.then(() => slots.release())
  return false
}

const NO_LIMITS: readonly HandlerLimit[] = Object.freeze([])

/** The limits of these handlers, in the order in which they are taken. */
export function limitsOf(
  handlers: readonly { readonly limit: HandlerLimit | undefined }[],
): readonly HandlerLimit[] {
  if (handlers.every(({ limit }) => limit === undefined)) return NO_LIMITS
  const limits = new Set(handlers.flatMap(({ limit }) => limit ?? []))
  return [...limits].toSorted((a, b) => a.rank - b.rank)
}

/** Takes all limits. @returns a function that releases them, also if called again; undefined if the signal aborts first. */
export async function takeAll(
  limits: readonly HandlerLimit[],
  stopping: AbortSignal,
): Promise<(() => void) | undefined> {
  const taken: HandlerLimit[] = []
  const release = () => {
    for (const limit of taken.splice(0)) limit.release()
  }
  for (const limit of limits) {
    if (!(await limit.take(stopping))) {
      release()
      return undefined
    }
    taken.push(limit)
  }
  return release
}
