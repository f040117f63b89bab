import { type ReplayTarget, replayTarget } from '../../transport/replay-headers.ts'
import { isRecorded } from '../../transport/settled-handlers.ts'
import type { DeadLetterReason, Delivery, IncomingMessage } from '../../transport/transport.ts'
import type { Wait } from '../../transport/waiting.ts'
import type { AmqpMessage } from '../client/client.ts'
import { toIncoming } from '../wire/message.ts'
import type { RabbitMQAcks, UnackedDelivery } from './acks.ts'
import type { AttemptMark, MarkedMessage } from './attempt-marks.ts'

/** The operations of a consumption that a delivery uses. */
export interface DeliveryOwner {
  /** False after a standstill of this process, as the broker may have given its messages to another consumer. */
  mayStart(): boolean
  settled(delivery: RabbitMQDelivery): void
  /** Resolves when the mark is safe. */
  writeMark(marked: MarkedMessage): Promise<void>
  removeMark(message: AmqpMessage): void
  /** Resolves when the dead letter is safe. */
  publishDeadLetter(message: AmqpMessage, reason: DeadLetterReason): Promise<void>
  /** Resolves when a copy of the message is stored. */
  postpone(message: AmqpMessage, wait: Wait): Promise<void>
  /** Remembers a message that was settled after its channel closed, so that it could not be acknowledged. */
  rememberSettled(message: AmqpMessage): void
  /** True if this process settled the message but could not acknowledge it. The message is then forgotten. */
  takeSettled(message: AmqpMessage): boolean
}

/** One message of a queue, until it is settled. */
export class RabbitMQDelivery implements Delivery {
  readonly message: IncomingMessage
  readonly deliveryCount: number
  readonly settledHandlers: readonly string[]
  readonly replayTarget: ReplayTarget | undefined
  readonly #raw: AmqpMessage
  readonly #unacked: UnackedDelivery
  readonly #acks: RabbitMQAcks
  readonly #owner: DeliveryOwner
  #isMarked: boolean
  #isStarted = false
  #isAttempting = false
  #attempt: number
  #markedHandlers: readonly string[]

  /** @param mark - the record of earlier attempts; undefined if there is none. */
  constructor(
    raw: AmqpMessage,
    id: string,
    unacked: UnackedDelivery,
    acks: RabbitMQAcks,
    owner: DeliveryOwner,
    mark: AttemptMark | undefined,
  ) {
    this.message = toIncoming(raw, id)
    this.replayTarget = isReplay(raw) ? replayTarget(this.message.headers) : undefined
    this.#raw = raw
    this.#unacked = unacked
    this.#acks = acks
    this.#owner = owner
    const wasDelivered = isRedelivered(raw)
    // Without a mark, an earlier consumer may still have started one attempt: the first attempt is not marked.
    this.deliveryCount = wasDelivered ? (mark?.attempts ?? 1) + 1 : 1
    this.settledHandlers = mark?.settledHandlers ?? []
    this.#isMarked = wasDelivered
    this.#attempt = this.deliveryCount
    this.#markedHandlers = this.settledHandlers
  }

  describe(): Readonly<Record<string, string | number>> {
    const { routingKey, deliveryTag } = this.#raw.fields
    return {
      'messaging.rabbitmq.destination.routing_key': routingKey,
      'messaging.rabbitmq.message.delivery_tag': deliveryTag,
    }
  }

  begin(): boolean {
    if (!this.#acks.isOpen || !this.#owner.mayStart()) return false
    if (!isRedelivered(this.#raw) || !this.#owner.takeSettled(this.#raw)) {
      this.#isStarted = true
      // Later attempts start in `beginAttempt`, after they are recorded.
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
    return this.#writeMark(settledHandlers)
  }

  async attemptFailed(_attempt: number, settledHandlers: readonly string[]): Promise<boolean> {
    this.#isAttempting = false
    if (isRecorded(settledHandlers, this.#markedHandlers)) return true
    return this.#acks.isOpen && this.#writeMark(settledHandlers)
  }

  /**
   * The mark to write if the message returns to the queue unsettled: an interrupted attempt does not count, and neither
   * does a delivery that was not started. Undefined if the stored mark is already correct.
   */
  returnMark(): MarkedMessage | undefined {
    const isUntouched = !this.#isStarted && this.deliveryCount === 1
    if (!this.#isAttempting && !isUntouched) return undefined
    const mark = { attempts: this.#attempt - 1, settledHandlers: this.#markedHandlers }
    return { message: this.#raw, mark }
  }

  ack(): void {
    this.#owner.settled(this)
    if (!this.#acks.isOpen) {
      this.#owner.rememberSettled(this.#raw)
      return
    }
    this.#acks.settle(this.#unacked)
    if (this.#isMarked) this.#owner.removeMark(this.#raw)
  }

  async deadLetter(reason: DeadLetterReason): Promise<boolean> {
    this.#isAttempting = false
    await this.#owner.publishDeadLetter(this.#raw, reason)
    this.ack()
    return true
  }

  async postpone(wait: Wait): Promise<boolean> {
    this.#isAttempting = false
    // The broker redelivers the message.
    if (!this.#acks.isOpen) return false
    await this.#owner.postpone(this.#raw, wait)
    return true
  }

  async #writeMark(settledHandlers: readonly string[]): Promise<boolean> {
    this.#isMarked = true
    this.#markedHandlers = settledHandlers
    await this.#owner.writeMark({ message: this.#raw, mark: { attempts: this.#attempt, settledHandlers } })
    return this.#acks.isOpen
  }
}

/**
 * True if the broker delivered the message before. Quorum queues also count deliveries in `x-delivery-count`, but a
 * producer can write that header, too, and on a classic queue the broker leaves it as it is.
 */
export function isRedelivered({ fields }: AmqpMessage): boolean {
  return fields.redelivered
}

/**
 * True if the message was published to the queue itself, as a replay is, and not to the bus's exchange. The broker sets
 * the exchange of a message, so a producer cannot forge it. A broker that dead-letters to this queue also uses the
 * default exchange, but adds `x-death`, which a replay does not have.
 */
function isReplay({ fields, properties }: AmqpMessage): boolean {
  return fields.exchange === '' && properties.headers?.['x-death'] === undefined
}
