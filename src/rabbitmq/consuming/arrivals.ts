import type { Intake } from '../../transport/transport.ts'
import type { AmqpMessage } from '../client/client.ts'
import type { RabbitMQAcks, UnackedDelivery } from './acks.ts'
import type { AttemptMark } from './attempt-marks.ts'
import { isRedelivered, type RabbitMQDelivery } from './delivery.ts'

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

/** Marks that are read at a time: each takes several round trips, and all that was unsettled comes with one. */
const READ_AHEAD = 16

interface WaitingArrival extends Arrival {
  /** Reading it has begun. Never rejects. */
  mark?: Promise<AttemptMark | undefined>
}

/** Hands messages on in the order they came; some wait for room, and those that somebody had before for their mark. */
export class RabbitMQArrivals {
  readonly #parts: ArrivalsParts
  #waiting: WaitingArrival[] = []
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
      this.#readAhead()
      const mark = arrival.mark === undefined ? undefined : await arrival.mark
      // Forgotten meanwhile.
      if (this.#waiting[0] !== arrival) continue
      this.#waiting.shift()
      if (arrival.acks.isOpen) intake.deliver(deliveryOf(arrival, mark))
    }
    this.#isForwarding = false
  }

  /** No further than there is room: until they are handed on, somebody who is not gone yet may change them. */
  #readAhead(): void {
    const count = Math.max(1, Math.min(READ_AHEAD, this.#parts.intake.room))
    for (let index = 0; index < count; index += 1) {
      const arrival = this.#waiting[index]
      if (arrival === undefined) return
      if (isRedelivered(arrival.message)) arrival.mark ??= this.#readMark(arrival)
    }
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
