import type { DomainEvent } from '../events/index.ts'
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
}

/** One run of one handler, which is also the handler's context. The signal is created when it is first read. */
export class HandlerRun implements HandlerContext {
  readonly handler: HandlerEntry
  readonly event: DomainEvent
  readonly info: RunInfo
  /** When the run started, by the monotonic clock; 0 if no metrics are recorded. */
  startedAt = 0
  #controller: AbortController | undefined
  #signal: AbortSignal | undefined

  constructor(handler: HandlerEntry, event: DomainEvent, info: RunInfo) {
    this.handler = handler
    this.event = event
    this.info = info
  }

  get signal(): AbortSignal {
    if (this.#signal === undefined) {
      this.#controller ??= new AbortController()
      this.#signal = AbortSignal.any([this.#controller.signal, this.info.busSignal])
    }
    return this.#signal
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

  abort(reason: Error): void {
    this.#controller ??= new AbortController()
    this.#controller.abort(reason)
  }
}
