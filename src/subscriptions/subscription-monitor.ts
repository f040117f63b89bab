import type { GuardChange } from '../handling/outage-guard.ts'
import type { LogFields, Logger } from '../observability/logger.ts'
import { readable } from '../redaction.ts'

/** The last problem of a subscription. */
export interface SubscriptionProblem {
  /** A fixed text that describes the problem. */
  readonly what: string
  readonly name: string
  readonly message: string
  readonly at: Date
  readonly eventId: string | undefined
  readonly position: number | undefined
}

/** Parts that can fail for some time. */
export type TroubleKind = 'store' | 'checkpoint' | 'deadLetters' | 'lease'

/** Period over which the rate is measured, in milliseconds. */
const WINDOW_MS = 10_000

/** Counts the events of a subscription, and records its problems. */
export class SubscriptionMonitor {
  readonly #name: string
  readonly #logger: Logger
  readonly #troubles = new Map<TroubleKind, string>()
  /** Names of the handlers that pause because of an outage. */
  readonly #paused = new Set<string>()
  #samples: { readonly at: number; readonly handled: number }[] = [{ at: performance.now(), handled: 0 }]
  eventsHandled = 0
  eventsDeadLettered = 0
  /** Events that a handler discarded, once for each such handler. */
  eventsDiscarded = 0
  /** Runs of handlers that failed. */
  handlerErrors = 0
  /** Events that wait for a retry. */
  retrying = 0
  /** Wake-ups that announced new events. */
  wakeUps = 0
  /** Reads that found events without a wake-up. */
  missedWakeUps = 0
  lastError: SubscriptionProblem | undefined

  constructor(name: string, logger: Logger) {
    this.#name = name
    this.#logger = logger
  }

  /** Descriptions of the parts that are failing at the moment. */
  get troubles(): readonly string[] {
    return [...this.#troubles.values(), ...[...this.#paused].map((name) => `handler ${name} paused`)]
  }

  /** Events per second over the last `WINDOW_MS`. */
  get eventsPerSecond(): number {
    this.sample()
    const [first] = this.#samples
    const elapsed = first === undefined ? 0 : performance.now() - first.at
    return first === undefined || elapsed === 0 ? 0 : ((this.eventsHandled - first.handled) / elapsed) * 1000
  }

  /** Logs something that an operator may not expect. */
  notice(what: string, fields: LogFields): void {
    this.#logger.warn(what, { subscription: this.#name, ...fields })
  }

  /** Records a sample for the rate. Call it regularly. */
  sample(): void {
    const now = performance.now()
    const last = this.#samples.at(-1)
    if (last !== undefined && now - last.at < WINDOW_MS / 20) return
    this.#samples.push({ at: now, handled: this.eventsHandled })
    this.#samples = this.#samples.filter(({ at }) => now - at <= WINDOW_MS)
  }

  trouble(kind: TroubleKind, what: string, error: Error): void {
    this.#troubles.set(kind, what)
    this.problem(what, error)
    this.#logger.warn(`${what}, retrying`, { subscription: this.#name, error })
  }

  troubleOver(kind: TroubleKind): void {
    this.#troubles.delete(kind)
  }

  /** A handler with an `outageGuard` has paused or resumed. */
  handlerPaused(handlerName: string, { isPaused, error }: GuardChange): void {
    const at = { subscription: this.#name, handlerName }
    if (isPaused) {
      this.#paused.add(handlerName)
      this.problem('handler paused', error)
      this.#logger.error('handler paused, its events fail for the same reason', { ...at, error })
    } else {
      this.#paused.delete(handlerName)
      this.#logger.warn('handler resumed', at)
    }
  }

  problem(
    what: string,
    error: Error,
    at: { readonly eventId?: string; readonly position?: number } = {},
  ): void {
    // A handler's error can hold anything.
    const [name, message] = [readable(String(error.name)), readable(String(error.message))]
    this.lastError = { what, name, message, at: new Date(), eventId: at.eventId, position: at.position }
  }
}
