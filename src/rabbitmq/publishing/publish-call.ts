import type { PublishFailure } from '../../transport/transport.ts'
import type { AmqpOutgoing } from '../wire/message.ts'

export interface PublishCallParts {
  readonly count: number
  /** Makes the message of an index, right before it is sent. */
  readonly make: (index: number) => AmqpOutgoing
  /** Whether a message fails if no queue is bound for it. */
  readonly mustRoute: boolean
  /** Makes the error of a message that was not confirmed in time. */
  readonly timeoutError: (detail: string) => Error
}

/** Why a message was not confirmed. */
export type MessageFailure = Omit<PublishFailure, 'index'>

/** One publish in flight: which of its messages were sent, and their outcomes. */
export class PublishCall {
  readonly mustRoute: boolean
  readonly make: (index: number) => AmqpOutgoing
  readonly #count: number
  readonly #timeoutError: (detail: string) => Error
  readonly #done = Promise.withResolvers<readonly PublishFailure[]>()
  readonly #settled: Uint8Array
  readonly #failures: PublishFailure[] = []
  #next = 0
  #unsettled: number

  constructor({ count, make, mustRoute, timeoutError }: PublishCallParts) {
    this.#count = count
    this.make = make
    this.mustRoute = mustRoute
    this.#timeoutError = timeoutError
    this.#settled = new Uint8Array(count)
    this.#unsettled = count
  }

  /** Resolves when each message is confirmed or has failed. */
  get done(): Promise<readonly PublishFailure[]> {
    return this.#done.promise
  }

  get hasNext(): boolean {
    return this.#next < this.#count
  }

  /** Index of the next message to send. */
  take(): number {
    const index = this.#next
    this.#next += 1
    return index
  }

  /** Only the first outcome of a message counts: a confirm after the deadline changes nothing. */
  settle(index: number, failure: MessageFailure | undefined): void {
    if (this.#settled[index] !== 0) return
    this.#settled[index] = 1
    if (failure !== undefined) this.#failures.push({ index, ...failure })
    this.#unsettled -= 1
    if (this.#unsettled === 0) this.#done.resolve(this.#failures)
  }

  /** Stops sending. Messages that were sent may be stored, the others are not. */
  giveUp(detail: string): void {
    const error = this.#timeoutError(detail)
    const sent = this.#next
    this.#next = this.#count
    for (let index = 0; index < this.#count; index += 1) {
      this.settle(index, { status: index < sent ? 'unknown' : 'notStored', error })
    }
  }
}
