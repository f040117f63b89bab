import type { DomainEvent } from '../events/index.ts'
import type { HandlerContext } from './event-handler.ts'
import type { HandlerEntry } from './handler-registry.ts'

/** What is known of a delivery when its handlers run. */
export interface RunInfo {
  readonly attempt: number
  readonly deliveryCount: number
  readonly consumerGroup: string | undefined
  readonly messageId: string | undefined
  /** Aborted when the bus gives up waiting for its handlers. */
  readonly busSignal: AbortSignal
}

/** One run of one handler, and its context. The signal is made only if somebody asks for it. */
export class HandlerRun implements HandlerContext {
  readonly handler: HandlerEntry
  readonly event: DomainEvent
  readonly info: RunInfo
  /** When it began, by the monotonic clock; 0 while nobody measures. */
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
