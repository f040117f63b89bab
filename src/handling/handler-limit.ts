import { Slots } from '../kit/slots.ts'
import { settledUntil, sleep } from '../kit/time.ts'
import type { GroupRate } from './group-rate.ts'
import type { OutageGuard } from './outage-guard.ts'

/** How late a run may be without lowering the rate of those that follow, in milliseconds: timers are not exact. */
const TOLERANCE_MS = 20

let created = 0

const NOTHING = () => undefined

export interface HandlerLimitOptions {
  readonly concurrency?: number | undefined
  readonly ratePerSecond?: number | undefined
  readonly groupRate?: GroupRate | undefined
  readonly guard?: OutageGuard | undefined
}

/** Limits the runs of one handler: how many at the same time, how many per second, and none in an outage. */
export class HandlerLimit {
  /** Limits are taken in this order, so that no two events wait for each other. */
  readonly rank: number
  readonly #slots: Slots | undefined
  readonly #intervalMs: number
  readonly #groupRate: GroupRate | undefined
  /** Undefined if the handler never pauses. */
  readonly guard: OutageGuard | undefined
  /** When the next run may start, by the monotonic clock. */
  #nextAt = 0

  constructor({ concurrency, ratePerSecond, groupRate, guard }: HandlerLimitOptions) {
    created += 1
    this.rank = created
    this.guard = guard
    this.#groupRate = groupRate
    this.#slots = concurrency === undefined ? undefined : new Slots(concurrency)
    this.#intervalMs = ratePerSecond === undefined ? 0 : 1000 / ratePerSecond
  }

  /** Waits until a run may start. @returns what to call when it has ended; undefined if the signal aborts first. */
  async take(stopping: AbortSignal): Promise<(() => void) | undefined> {
    if (this.#slots !== undefined && !(await takenUntil(this.#slots, stopping))) return undefined
    const passed = (await this.#onTurn(stopping)) ? await this.#passed(stopping) : undefined
    if (passed === undefined) this.#slots?.release()
    return (
      passed &&
      (() => {
        this.#slots?.release()
        passed()
      })
    )
  }

  /** The guard comes last: an event that probes must not wait for its turn. */
  #passed(stopping: AbortSignal): Promise<(() => void) | undefined> | (() => void) {
    return this.guard === undefined ? NOTHING : this.guard.pass(stopping)
  }

  async #onTurn(stopping: AbortSignal): Promise<boolean> {
    if (!(await this.#onOwnTurn(stopping))) return false
    return this.#groupRate === undefined || this.#groupRate.turn(stopping)
  }

  async #onOwnTurn(stopping: AbortSignal): Promise<boolean> {
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
  if (!haveLimits(handlers)) return NO_LIMITS
  const limits = new Set(handlers.flatMap(({ limit }) => limit ?? []))
  return [...limits].toSorted((a, b) => a.rank - b.rank)
}

/** True if one of the handlers has a limit. */
export function haveLimits(handlers: readonly { readonly limit: HandlerLimit | undefined }[]): boolean {
  for (const { limit } of handlers) if (limit !== undefined) return true
  return false
}

/** Takes all limits. @returns a function that releases them, also if called again; undefined if the signal aborts first. */
export async function takeAll(
  limits: readonly HandlerLimit[],
  stopping: AbortSignal,
): Promise<(() => void) | undefined> {
  const releases: (() => void)[] = []
  const release = () => {
    for (const each of releases.splice(0)) each()
  }
  for (const limit of limits) {
    const taken = await limit.take(stopping)
    if (taken === undefined) {
      release()
      return undefined
    }
    releases.push(taken)
  }
  return release
}
