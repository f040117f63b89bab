import type { PublishFailure } from '../../transport/transport.ts'
import type { AmqpOutgoing } from '../wire/message.ts'

export interface PublishCallParts {
  readonly count: number
  /** Makes the message of an index, right before it is sent. */
  readonly make: (index: number) => AmqpOutgoing
  /** Whether a message fails if no queue is bound for it. */
  readonly mustRoute: boolean
  /** Called when the time is over. Makes the error of the messages that are not confirmed. */
  readonly timeoutError: () => Error
}

/** Why a message was not confirmed. */
export type MessageFailure = Omit<PublishFailure, 'index'>

const NONE: readonly PublishFailure[] = Object.freeze([])

let lastResolve: (failures: readonly PublishFailure[]) => void
/** Executes the promise of each call. A function of its own for each would cost more. */
const noteResolve = (resolve: (failures: readonly PublishFailure[]) => void): void => {
  lastResolve = resolve
}

/** One publish in flight: which of its messages were sent, and their outcomes. A burst has many, so it is small. */
export class PublishCall {
  /** Resolves when each message is confirmed or has failed. */
  readonly done = new Promise<readonly PublishFailure[]>(noteResolve)
  readonly #resolve = lastResolve
  readonly #parts: PublishCallParts
  /** By index, which messages are settled; undefined if there is only one message. */
  readonly #settled: Uint8Array | undefined
  readonly #onAbort = () => this.giveUp()
  #signal: AbortSignal | undefined
  #failures: PublishFailure[] | undefined
  #next = 0
  #unsettled: number

  constructor(parts: PublishCallParts) {
    this.#parts = parts
    this.#settled = parts.count > 1 ? new Uint8Array(parts.count) : undefined
    this.#unsettled = parts.count
  }

  get mustRoute(): boolean {
    return this.#parts.mustRoute
  }

  get hasNext(): boolean {
    return this.#next < this.#parts.count
  }

  /** Gives up when the signal aborts. */
  until(signal: AbortSignal): void {
    this.#signal = signal
    signal.addEventListener('abort', this.#onAbort)
  }

  make(index: number): AmqpOutgoing {
    return this.#parts.make(index)
  }

  /** Index of the next message to send. */
  take(): number {
    const index = this.#next
    this.#next += 1
    return index
  }

  /** Only the first outcome of a message counts: a confirm after the deadline changes nothing. */
  settle(index: number, failure: MessageFailure | undefined): void {
    if (this.#unsettled === 0 || this.#settled?.[index] === 1) return
    if (this.#settled !== undefined) this.#settled[index] = 1
    if (failure !== undefined) {
      this.#failures ??= []
      this.#failures.push({ index, ...failure })
    }
    this.#unsettled -= 1
    if (this.#unsettled > 0) return
    this.#signal?.removeEventListener('abort', this.#onAbort)
    this.#resolve(this.#failures ?? NONE)
  }

  /** Stops sending. Messages that were sent may be stored, the others are not. */
  giveUp(): void {
    const { count, timeoutError } = this.#parts
    const error = timeoutError()
    const sent = this.#next
    this.#next = count
    for (let index = 0; index < count; index += 1) {
      this.settle(index, { status: index < sent ? 'unknown' : 'notStored', error })
    }
  }
}
