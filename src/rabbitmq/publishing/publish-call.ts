import type { PublishFailure } from '../../transport/transport.ts'
import type { AmqpOutgoing } from '../wire/message.ts'

export interface PublishCallParts {
  readonly count: number
  /** Makes the message of an index, when its turn has come. */
  readonly make: (index: number) => AmqpOutgoing
  /** Whether a message that no queue takes has failed. */
  readonly mustRoute: boolean
  /** The error of a message that was not confirmed in time. */
  readonly late: (detail: string) => Error
}

type Outcome = Omit<PublishFailure, 'index'> | undefined

/** One publish under way: which messages were sent, and what became of them. */
export class PublishCall {
  readonly mustRoute: boolean
  readonly make: (index: number) => AmqpOutgoing
  readonly #count: number
  readonly #late: (detail: string) => Error
  readonly #done = Promise.withResolvers<readonly PublishFailure[]>()
  readonly #settled: Uint8Array
  readonly #failures: PublishFailure[] = []
  #next = 0
  #unsettled: number

  constructor({ count, make, mustRoute, late }: PublishCallParts) {
    this.#count = count
    this.make = make
    this.mustRoute = mustRoute
    this.#late = late
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

  /** The first word counts: a confirm that comes after the deadline changes nothing. */
  settle(index: number, outcome: Outcome): void {
    if (this.#settled[index] !== 0) return
    this.#settled[index] = 1
    if (outcome !== undefined) this.#failures.push({ index, ...outcome })
    this.#unsettled -= 1
    if (this.#unsettled === 0) this.#done.resolve(this.#failures)
  }

  /** Nothing more is sent: what was, may be stored; the rest is not. */
  giveUp(detail: string): void {
    const error = this.#late(detail)
    const sent = this.#next
    this.#next = this.#count
    for (let index = 0; index < this.#count; index += 1) {
      this.settle(index, { status: index < sent ? 'unknown' : 'notStored', error })
    }
  }
}
