import type { Intake } from '../../transport/transport.ts'
import type { AmqpMessage } from '../client/client.ts'
import type { RabbitMQAcks, UnackedDelivery } from './acks.ts'
import type { AttemptMark } from './attempt-marks.ts'
import { isRedelivered, type RabbitMQDelivery } from './delivery.ts'

/** A message that arrived on a channel. */
export interface Arrival {
  readonly message: AmqpMessage
  readonly unacked: UnackedDelivery
  readonly acks: RabbitMQAcks
}

export interface ArrivalsParts {
  readonly intake: Intake
  /** Rejects if the mark cannot be read; the message must not be delivered then. */
  readonly readMark: (message: AmqpMessage) => Promise<AttemptMark | undefined>
  /** Called if a mark could not be read on a channel that is still open. */
  readonly unreadable: (acks: RabbitMQAcks, error: unknown) => void
  readonly deliveryOf: (arrival: Arrival, mark: AttemptMark | undefined) => RabbitMQDelivery
}

/** Marks that are read concurrently. Each takes several round trips, and a restart redelivers many messages at once. */
const READ_AHEAD = 16

interface WaitingArrival extends Arrival {
  /** Set once reading has started. Never rejects. */
  mark?: Promise<AttemptMark | undefined>
}

/** Passes messages to the intake in the order of their arrival, once there is room and their mark is read. */
export class RabbitMQArrivals {
  readonly #parts: ArrivalsParts
  #waiting: WaitingArrival[] = []
  #waitingBytes = 0
  #isForwarding = false
  #isStopped = false

  constructor(parts: ArrivalsParts) {
    this.#parts = parts
  }

  /** False if the messages that wait take up all the room of the intake, in bytes. */
  get hasRoom(): boolean {
    return this.#waitingBytes < this.#parts.intake.roomBytes
  }

  /** @returns the work that this call started; undefined if it started none. */
  add(arrival: Arrival): Promise<void> | undefined {
    if (this.#isStopped) return undefined
    const { intake, deliveryOf } = this.#parts
    if (!this.#isForwarding && intake.room > 0 && !isRedelivered(arrival.message)) {
      intake.deliver(deliveryOf(arrival, undefined))
      return undefined
    }
    this.#waiting.push(arrival)
    this.#waitingBytes += arrival.message.content.length
    return this.#isForwarding ? undefined : this.#forward()
  }

  /** Drops the waiting messages: their channel is closed. */
  clear(): void {
    this.#waiting = []
    this.#waitingBytes = 0
  }

  /** Stops passing messages on. @returns the messages that were waiting. */
  stop(): readonly AmqpMessage[] {
    this.#isStopped = true
    const left = this.#waiting.map(({ message }) => message)
    this.clear()
    return left
  }

  async #forward(): Promise<void> {
    const { intake, deliveryOf } = this.#parts
    this.#isForwarding = true
    // Messages that arrive meanwhile are appended, so this loop reaches them too.
    for (let arrival = this.#waiting[0]; arrival !== undefined; arrival = this.#waiting[0]) {
      if (intake.room === 0) await intake.whenRoom()
      this.#readAhead()
      const mark = arrival.mark === undefined ? undefined : await arrival.mark
      // `clear` dropped it meanwhile.
      if (this.#waiting[0] !== arrival) continue
      this.#waiting.shift()
      this.#waitingBytes -= arrival.message.content.length
      if (arrival.acks.isOpen) intake.deliver(deliveryOf(arrival, mark))
    }
    this.#isForwarding = false
  }

  /** Reads marks only as far as there is room: the last consumer of a message may still change its mark. */
  #readAhead(): void {
    const count = Math.max(1, Math.min(READ_AHEAD, this.#parts.intake.room))
    for (let index = 0; index < count; index += 1) {
      const arrival = this.#waiting[index]
      if (arrival === undefined) return
      if (isRedelivered(arrival.message)) arrival.mark ??= this.#readMark(arrival)
    }
  }

  /** Without its mark a message must not be delivered: it may be the one that kills its process. */
  async #readMark({ message, acks }: Arrival): Promise<AttemptMark | undefined> {
    try {
      return await this.#parts.readMark(message)
    } catch (error) {
      if (acks.isOpen && !this.#isStopped) this.#parts.unreadable(acks, error)
      return undefined
    }
  }
}
