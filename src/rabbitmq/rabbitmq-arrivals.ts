import type { Intake } from '../bus/transport.ts'
import type { RabbitMQAcks, UnackedDelivery } from './rabbitmq-acks.ts'
import type { AttemptMark } from './rabbitmq-attempt-marks.ts'
import type { AmqpMessage } from './rabbitmq-client.ts'
import { isRedelivered, type RabbitMQDelivery } from './rabbitmq-delivery.ts'

/** A message that has come over a channel. */
export interface Arrival {
  readonly message: AmqpMessage
  readonly unacked: UnackedDelivery
  readonly acks: RabbitMQAcks
}

export interface ArrivalsParts {
  readonly intake: Intake
  /** Rejects where it cannot be known; the message then must not be delivered. */
  readonly readMark: (message: AmqpMessage) => Promise<AttemptMark | undefined>
  /** The mark of a message that still matters could not be read. */
  readonly unreadable: (acks: RabbitMQAcks, error: unknown) => void
  readonly deliveryOf: (arrival: Arrival, mark: AttemptMark | undefined) => RabbitMQDelivery
}

/** Hands messages on in the order they came; some wait for room, and those that somebody had before for their mark. */
export class RabbitMQArrivals {
  readonly #parts: ArrivalsParts
  #waiting: Arrival[] = []
  #isForwarding = false
  #isStopped = false

  constructor(parts: ArrivalsParts) {
    this.#parts = parts
  }

  /** @returns the work that this began, if any. */
  add(arrival: Arrival): Promise<void> | undefined {
    if (this.#isStopped) return undefined
    const { intake, deliveryOf } = this.#parts
    if (!this.#isForwarding && intake.room > 0 && !isRedelivered(arrival.message)) {
      intake.deliver(deliveryOf(arrival, undefined))
      return undefined
    }
    this.#waiting.push(arrival)
    return this.#isForwarding ? undefined : this.#forward()
  }

  /** Forgets what waits: its channel is gone. */
  clear(): void {
    this.#waiting = []
  }

  /** Hands nothing on any more. @returns what waited */
  stop(): readonly AmqpMessage[] {
    this.#isStopped = true
    const left = this.#waiting.map(({ message }) => message)
    this.clear()
    return left
  }

  async #forward(): Promise<void> {
    const { intake, deliveryOf } = this.#parts
    this.#isForwarding = true
    // Whatever arrives meanwhile is added at the end.
    for (let arrival = this.#waiting[0]; arrival !== undefined; arrival = this.#waiting[0]) {
      if (intake.room === 0) await intake.whenRoom()
      const mark = isRedelivered(arrival.message) ? await this.#readMark(arrival) : undefined
      // Forgotten meanwhile.
      if (this.#waiting[0] !== arrival) continue
      this.#waiting.shift()
      if (arrival.acks.isOpen) intake.deliver(deliveryOf(arrival, mark))
    }
    this.#isForwarding = false
  }

  /** Without its mark it must not be delivered, as it may be the one that kills its process. */
  async #readMark({ message, acks }: Arrival): Promise<AttemptMark | undefined> {
    try {
      return await this.#parts.readMark(message)
    } catch (error) {
      if (acks.isOpen && !this.#isStopped) this.#parts.unreadable(acks, error)
      return undefined
    }
  }
}
