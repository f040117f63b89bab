import type { DomainEvent } from '../events/index.ts'
import { durationMs, positiveInteger, resolveOptions } from '../kit/options.ts'

/** When a handler pauses because its dependency is down, and how it resumes. */
export interface OutageGuardOptions {
  /**
   * Number of different events that fail for the same reason within `withinMs`, while no more events succeed than fail. Of the
   * successes before the first failure, at most this number counts. Default 10. If the process holds fewer events
   * (`maxInFlight`, `prefetchCount`), their number, but at least 2.
   */
  readonly failures?: number
  /** Length of the window in which failures are counted, in milliseconds. Default 10,000. */
  readonly withinMs?: number
  /** Delay before one event is tried, in milliseconds; it doubles with each failure. Default 1,000. */
  readonly probeDelayMs?: number
  /** Maximum delay before one event is tried, in milliseconds. Default 10,000. */
  readonly maxProbeDelayMs?: number
}

export const outageGuardDefaults = {
  failures: 10,
  withinMs: 10_000,
  probeDelayMs: 1000,
  maxProbeDelayMs: 10_000,
}

export const outageGuardRules = {
  failures: positiveInteger,
  withinMs: durationMs,
  probeDelayMs: durationMs,
  maxProbeDelayMs: durationMs,
}

/** The fewest different events whose failures pause a handler because the process holds no more. */
const LEAST_EVENTS = 2

/** @returns undefined if there is no guard. @throws ConfigError */
export function guardOptions(
  subject: string,
  given: boolean | OutageGuardOptions | undefined,
  maxHeld: number,
): Required<OutageGuardOptions> | undefined {
  if (given === undefined || given === false) return undefined
  const options = resolveOptions(
    `${subject} outageGuard`,
    given === true ? {} : given,
    outageGuardDefaults,
    outageGuardRules,
  )
  // A process that holds fewer events would never pause. One event alone does not show an outage.
  const failures = Math.min(options.failures, Math.max(LEAST_EVENTS, maxHeld))
  return { ...options, failures }
}

/** The events that failed for one reason in the current window. */
interface Failing {
  readonly events: Set<string>
  /** Number of successes before the first of these failures that do not count. */
  readonly uncounted: number
}

/** A handler paused or resumed. */
export interface GuardChange {
  readonly isPaused: boolean
  /** The last failure. */
  readonly error: Error
}

interface Pause {
  /** Between the last probe and the next, in milliseconds. */
  delayMs: number
  /** When the next probe may start, by the monotonic clock. */
  probeAt: number
  error: Error
}

const NOTHING = () => undefined

/**
 * Pauses a handler while many different events fail for the same reason: the cause is then not the events. One event at a
 * time probes at a growing interval. The first success resumes the handler.
 */
export class OutageGuard {
  readonly #options: Required<OutageGuardOptions>
  readonly #onChange: (change: GuardChange) => void
  /** By reason. */
  readonly #failing = new Map<string, Failing>()
  #successes = 0
  #windowStart = 0
  /** Undefined while the handler runs. */
  #pause: Pause | undefined
  /** The events that wait, oldest first, as functions that end their wait. */
  readonly #waiting = new Set<(mayRun: boolean) => void>()
  #timer: NodeJS.Timeout | undefined

  constructor(options: Required<OutageGuardOptions>, onChange: (change: GuardChange) => void) {
    this.#options = options
    this.#onChange = onChange
  }

  get isPaused(): boolean {
    return this.#pause !== undefined
  }

  /**
   * Waits while the handler pauses.
   * @returns what to call after the run; undefined if the signal aborts first.
   */
  async pass(stopping: AbortSignal): Promise<(() => void) | undefined> {
    if (this.#pause !== undefined && !this.#isProbeDue() && !(await this.#waited(stopping))) return undefined
    if (stopping.aborted) return undefined
    const pause = this.#pause
    if (pause === undefined) return NOTHING
    // A probe that hangs does not keep others from trying.
    pause.probeAt = performance.now() + this.#options.maxProbeDelayMs
    this.#arm()
    return () => this.#probed(pause)
  }

  /** Waits until the handler resumes, or until it is the turn of this event to probe. */
  #waited(stopping: AbortSignal): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const end = (mayRun: boolean) => {
      this.#waiting.delete(end)
      stopping.removeEventListener('abort', stop)
      resolve(mayRun)
    }
    const stop = () => {
      end(false)
      if (this.#waiting.size === 0) this.#disarm()
    }
    stopping.addEventListener('abort', stop, { once: true })
    if (stopping.aborted) end(false)
    else this.#waiting.add(end)
    this.#arm()
    return promise
  }

  /** A run has succeeded: what it depends on works. */
  succeeded(): void {
    const pause = this.#pause
    this.#roll()
    this.#successes += 1
    if (pause === undefined) return
    this.#pause = undefined
    this.#forget()
    this.#disarm()
    this.#onChange({ isPaused: false, error: pause.error })
    for (const end of [...this.#waiting]) end(true)
  }

  /** A run has failed with an error that is worth a retry. @returns true if the attempt does not count. */
  failed({ eventId }: DomainEvent, error: Error): boolean {
    if (this.#pause !== undefined) {
      this.#pause.error = error
      return true
    }
    this.#roll()
    const reason = reasonOf(error)
    const { failures, probeDelayMs } = this.#options
    // If all successes before an outage counted, a busy handler would pause too late to spare its events.
    const uncounted = Math.max(0, this.#successes - failures)
    const failing = this.#failing.get(reason) ?? { events: new Set(), uncounted }
    this.#failing.set(reason, failing)
    const { size } = failing.events.add(eventId)
    if (size < failures || size < this.#successes - failing.uncounted) return false
    this.#forget()
    this.#pause = { delayMs: probeDelayMs, probeAt: performance.now() + probeDelayMs, error }
    this.#onChange({ isPaused: true, error })
    return true
  }

  /** A probe has ended. If it has not succeeded, another one follows later. */
  #probed(pause: Pause): void {
    if (this.#pause !== pause) return
    pause.delayMs = Math.min(this.#options.maxProbeDelayMs, pause.delayMs * 2)
    pause.probeAt = performance.now() + pause.delayMs
    this.#disarm()
    this.#arm()
  }

  #isProbeDue(): boolean {
    return this.#pause !== undefined && performance.now() >= this.#pause.probeAt
  }

  /** Starts the timer of the next probe, if an event waits that could be it. */
  #arm(): void {
    if (this.#pause === undefined || this.#waiting.size === 0) return
    this.#timer ??= setTimeout(
      () => {
        this.#timer = undefined
        const [first] = this.#waiting
        if (this.#isProbeDue()) first?.(true)
        else this.#arm()
      },
      Math.max(1, this.#pause.probeAt - performance.now()),
    )
  }

  #disarm(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Starts a new window if the current one is over. */
  #roll(): void {
    const now = performance.now()
    if (now - this.#windowStart < this.#options.withinMs) return
    this.#windowStart = now
    this.#forget()
  }

  #forget(): void {
    this.#failing.clear()
    this.#successes = 0
  }
}

function reasonOf(error: Error): string {
  return `${error.name} ${'code' in error ? String(error.code) : ''}`
}
