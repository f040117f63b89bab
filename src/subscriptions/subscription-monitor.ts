import type { LogFields, Logger } from '../observability/logger.ts'

/** What went wrong last. */
export interface SubscriptionProblem {
  /** A fixed sentence. */
  readonly what: string
  readonly name: string
  readonly message: string
  readonly at: Date
  readonly eventId: string | undefined
  readonly position: number | undefined
}

/** What may be in trouble for a while. */
export type TroubleKind = 'store' | 'checkpoint' | 'deadLetters' | 'lease'

/** How long the rate looks back, in milliseconds. */
const WINDOW_MS = 10_000

/** Counts what a subscription does, and remembers what goes wrong. */
export class SubscriptionMonitor {
  readonly #name: string
  readonly #logger: Logger
  readonly #troubles = new Map<TroubleKind, string>()
  #samples: { readonly at: number; readonly handled: number }[] = [{ at: performance.now(), handled: 0 }]
  eventsHandled = 0
  eventsDeadLettered = 0
  /** Runs of handlers that failed. */
  handlerErrors = 0
  /** Events between a failed attempt and the next. */
  retrying = 0
  /** Calls that told of new events. */
  wakeUps = 0
  /** Reads that found events though nobody had called. */
  missedWakeUps = 0
  lastError: SubscriptionProblem | undefined

  constructor(name: string, logger: Logger) {
    this.#name = name
    this.#logger = logger
  }

  /** What is in trouble now, in words. */
  get troubles(): readonly string[] {
    return [...this.#troubles.values()]
  }

  /** Events per second, lately. */
  get eventsPerSecond(): number {
    this.sample()
    const [first] = this.#samples
    const elapsed = first === undefined ? 0 : performance.now() - first.at
    return first === undefined || elapsed === 0 ? 0 : ((this.eventsHandled - first.handled) / elapsed) * 1000
  }

  /** Tells what somebody may not expect. */
  notice(what: string, fields: LogFields): void {
    this.#logger.warn(what, { subscription: this.#name, ...fields })
  }

  /** To be called now and then. */
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
    this.#logger.warn(`${what}, trying again`, { subscription: this.#name, error })
  }

  troubleOver(kind: TroubleKind): void {
    this.#troubles.delete(kind)
  }

  problem(
    what: string,
    error: Error,
    at: { readonly eventId?: string; readonly position?: number } = {},
  ): void {
    const { name, message } = error
    this.lastError = { what, name, message, at: new Date(), eventId: at.eventId, position: at.position }
  }
}
