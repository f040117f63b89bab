import type { HandlerContext } from './event-handler.ts'

/** What is known of a delivery when its handlers run. */
export interface RunInfo {
  readonly attempt: number
  readonly deliveryCount: number
  readonly consumerGroup: string | undefined
  readonly messageId: string | undefined
  /** Aborted when the bus gives up waiting for its handlers. */
  readonly busSignal: AbortSignal
}

/** The context of one run of one handler. Its signal is made only if somebody asks for it. */
export class HandlerRun implements HandlerContext {
  readonly #info: RunInfo
  #controller: AbortController | undefined
  #signal: AbortSignal | undefined

  constructor(info: RunInfo) {
    this.#info = info
  }

  get signal(): AbortSignal {
    if (this.#signal === undefined) {
      this.#controller ??= new AbortController()
      this.#signal = AbortSignal.any([this.#controller.signal, this.#info.busSignal])
    }
    return this.#signal
  }

  get attempt(): number {
    return this.#info.attempt
  }

  get deliveryCount(): number {
    return this.#info.deliveryCount
  }

  get consumerGroup(): string | undefined {
    return this.#info.consumerGroup
  }

  get messageId(): string | undefined {
    return this.#info.messageId
  }

  abort(reason: Error): void {
    this.#controller ??= new AbortController()
    this.#controller.abort(reason)
  }
}
