import type { DomainEvent } from '../events/index.ts'
import type { EventSpan } from '../observability/tracer.ts'
import type { HandlerContext } from './event-handler.ts'
import type { HandlerEntry } from './handler-entry.ts'

/** What the handlers of a delivery have in common. */
export interface RunInfo {
  readonly attempt: number
  readonly deliveryCount: number
  readonly consumerGroup: string | undefined
  readonly messageId: string | undefined
  /** Aborts when the bus no longer waits for its handlers. */
  readonly busSignal: AbortSignal
  /** The span around the handlers, if it is known. */
  readonly span?: EventSpan | undefined
}

/** The runs whose signals abort with a signal of a bus. */
const followers = new WeakMap<AbortSignal, Set<HandlerRun>>()

/**
 * One run of one handler, which is also the handler's context. The signal is created when it is first read. Until the
 * run ends, it aborts when the signal of the bus aborts. `AbortSignal.any` is not used: if a handler does not remove a
 * listener from such a signal, the signal stays in memory as long as the bus.
 */
export class HandlerRun implements HandlerContext {
  readonly handler: HandlerEntry
  readonly event: DomainEvent
  readonly info: RunInfo
  /** When the run started, by the monotonic clock; 0 if no metrics are recorded. */
  startedAt = 0
  #controller: AbortController | undefined
  #following: Set<HandlerRun> | undefined
  #hasEnded = false

  constructor(handler: HandlerEntry, event: DomainEvent, info: RunInfo) {
    this.handler = handler
    this.event = event
    this.info = info
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      this.#followBus(this.info.busSignal)
    }
    return this.#controller.signal
  }

  get handlerName(): string {
    return this.handler.name
  }

  get attempt(): number {
    return this.info.attempt
  }

  get deliveryCount(): number {
    return this.info.deliveryCount
  }

  get consumerGroup(): string | undefined {
    return this.info.consumerGroup
  }

  get messageId(): string | undefined {
    return this.info.messageId
  }

  abort(reason: unknown): void {
    this.#controller ??= new AbortController()
    this.#controller.abort(reason)
  }

  /** The run has succeeded or failed: from now on the bus does not abort its signal. */
  end(): void {
    this.#hasEnded = true
    this.#following?.delete(this)
  }

  #followBus(busSignal: AbortSignal): void {
    if (busSignal.aborted) this.abort(busSignal.reason)
    else if (!this.#hasEnded) {
      this.#following = followersOf(busSignal)
      this.#following.add(this)
    }
  }
}

function followersOf(busSignal: AbortSignal): Set<HandlerRun> {
  const known = followers.get(busSignal)
  if (known !== undefined) return known
  const runs = new Set<HandlerRun>()
  followers.set(busSignal, runs)
  busSignal.addEventListener('abort', () => abortAll(runs, busSignal.reason), { once: true })
  return runs
}

function abortAll(runs: Iterable<HandlerRun>, reason: unknown): void {
  for (const run of runs) run.abort(reason)
}
