import type { DeadLetterReason, Delivery, IncomingMessage } from '../../transport/transport.ts'
import type { AmqpMessage } from '../client/client.ts'
import { toIncoming } from '../wire/message.ts'
import type { RabbitMQAcks, UnackedDelivery } from './acks.ts'
import type { AttemptMark, AttemptNote } from './attempt-marks.ts'

/** What a delivery needs of its consumption. */
export interface DeliveryKeeper {
  /** False after this process stood still for so long that the broker may have given its messages to others. */
  mayBegin(): boolean
  settled(delivery: RabbitMQDelivery): void
  /** Resolves when the mark is safe. */
  mark(note: AttemptNote): Promise<void>
  unmark(message: AmqpMessage): void
  /** Resolves when the dead letter is safe. */
  bury(message: AmqpMessage, reason: DeadLetterReason): Promise<void>
  /** Remembers a message that was settled when its acknowledgment could no longer be sent. */
  rememberSettled(message: AmqpMessage): void
  /** True, once, when this process has settled the message before, and the broker has not heard of it. */
  wasSettled(message: AmqpMessage): boolean
}

/** One message of a queue, on loan. */
export class RabbitMQDelivery implements Delivery {
  readonly message: IncomingMessage
  readonly deliveryCount: number
  readonly settledHandlers: readonly string[]
  readonly #raw: AmqpMessage
  readonly #unacked: UnackedDelivery
  readonly #acks: RabbitMQAcks
  readonly #keeper: DeliveryKeeper
  #isMarked: boolean
  #isBegun = false
  #isAttempting = false
  #attempt: number
  #settledNow: readonly string[]

  /** @param mark - of the attempts before; undefined where there were none, or none was noted. */
  constructor(
    raw: AmqpMessage,
    id: string,
    unacked: UnackedDelivery,
    acks: RabbitMQAcks,
    keeper: DeliveryKeeper,
    mark: AttemptMark | undefined,
  ) {
    this.message = toIncoming(raw, id)
    this.#raw = raw
    this.#unacked = unacked
    this.#acks = acks
    this.#keeper = keeper
    const wasHere = isRedelivered(raw)
    // Whoever had it may have begun one attempt, which is noted nowhere.
    this.deliveryCount = wasHere ? (mark?.attempts ?? 1) + 1 : 1
    this.settledHandlers = mark?.settledHandlers ?? []
    this.#isMarked = wasHere
    this.#attempt = this.deliveryCount
    this.#settledNow = this.settledHandlers
  }

  describe(): Readonly<Record<string, string | number>> {
    const { routingKey, deliveryTag } = this.#raw.fields
    return {
      'messaging.rabbitmq.destination.routing_key': routingKey,
      'messaging.rabbitmq.message.delivery_tag': deliveryTag,
    }
  }

  begin(): boolean {
    if (!this.#acks.isOpen || !this.#keeper.mayBegin()) return false
    if (!isRedelivered(this.#raw) || !this.#keeper.wasSettled(this.#raw)) {
      this.#isBegun = true
      // Further ones begin when they are noted.
      this.#isAttempting = this.deliveryCount === 1
      return true
    }
    this.ack()
    return false
  }

  async beginAttempt(attempt: number, settledHandlers: readonly string[]): Promise<boolean> {
    if (!this.#acks.isOpen) return false
    this.#attempt = attempt
    this.#isAttempting = true
    return this.#note(settledHandlers)
  }

  async attemptFailed(_attempt: number, settledHandlers: readonly string[]): Promise<boolean> {
    this.#isAttempting = false
    if (settledHandlers.length === this.#settledNow.length) return true
    return this.#acks.isOpen && this.#note(settledHandlers)
  }

  /** What to note as it goes back: the attempt under way was broken off, or there was none, so that it does not count. */
  noteOfReturn(): AttemptNote | undefined {
    const isUntouched = !this.#isBegun && this.deliveryCount === 1
    if (!this.#isAttempting && !isUntouched) return undefined
    const mark = { attempts: this.#attempt - 1, settledHandlers: this.#settledNow }
    return { message: this.#raw, mark }
  }

  ack(): void {
    this.#keeper.settled(this)
    if (!this.#acks.isOpen) {
      this.#keeper.rememberSettled(this.#raw)
      return
    }
    this.#acks.settle(this.#unacked)
    if (this.#isMarked) this.#keeper.unmark(this.#raw)
  }

  async deadLetter(reason: DeadLetterReason): Promise<boolean> {
    this.#isAttempting = false
    await this.#keeper.bury(this.#raw, reason)
    this.ack()
    return true
  }

  async #note(settledHandlers: readonly string[]): Promise<boolean> {
    this.#isMarked = true
    this.#settledNow = settledHandlers
    await this.#keeper.mark({ message: this.#raw, mark: { attempts: this.#attempt, settledHandlers } })
    return this.#acks.isOpen
  }
}

/** Quorum queues count, classic queues only say that there was somebody. */
export function isRedelivered({ fields, properties }: AmqpMessage): boolean {
  const count = properties.headers?.['x-delivery-count']
  return fields.redelivered || (typeof count === 'number' && count > 0)
}
