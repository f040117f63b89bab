import { type ReplayTarget, replayTarget } from '../../transport/replay-headers.ts'
import { isRecorded } from '../../transport/settled-handlers.ts'
import type { DeadLetterReason, Delivery, IncomingMessage } from '../../transport/transport.ts'
import type { Wait } from '../../transport/waiting.ts'
import type { AmqpMessage } from '../client/client.ts'
import { toIncoming } from '../wire/message.ts'
import type { RabbitMQAcks, UnackedDelivery } from './acks.ts'
import { type AttemptMark, identityOf, type MarkedMessage } from './attempt-marks.ts'
import type { PlacedMessage, RabbitMQWaitingLines } from './waiting-lines.ts'

/** The places behind which later messages wait, by the names of the handlers. */
export type HeldPlaces = ReadonlyMap<string, string>

/** The operations of a consumption that a delivery uses. */
export interface DeliveryOwner {
  /** The exchange to which replays are published; `''` if they go to the queue itself. */
  readonly replayExchange: string
  /** The number of the partition; undefined if the group has none. */
  readonly partition?: number | undefined
  /**
   * False after a standstill of this process, as the broker may have given its messages to another consumer, and while
   * the partition is being given up.
   */
  mayStart(): boolean
  /** Called when a delivery may have nothing left that runs; see {@link RabbitMQDelivery.isBusy}. */
  rested?(): void
  settled(delivery: RabbitMQDelivery): void
  /** Resolves when the mark is safe. */
  writeMark(marked: MarkedMessage): Promise<void>
  removeMark(message: AmqpMessage): void
  /** Resolves when the dead letter is safe. */
  publishDeadLetter(message: AmqpMessage, reason: DeadLetterReason, places: HeldPlaces): Promise<void>
  /** Resolves when a copy of the message is stored. */
  postpone(message: AmqpMessage, wait: Wait): Promise<void>
  /** The messages that wait in order; undefined if the group keeps no order. */
  readonly lines?: RabbitMQWaitingLines | undefined
  /** Remembers a message that was settled after its channel closed, so that it could not be acknowledged. */
  rememberSettled(message: AmqpMessage): void
  /** True if this process settled the message but could not acknowledge it. The message is then forgotten. */
  takeSettled(message: AmqpMessage): boolean
}

const NO_PLACES: HeldPlaces = new Map()

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
  #isBusy = false
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
    this.replayTarget = isReplay(raw, owner.replayExchange) ? replayTarget(this.message.headers) : undefined
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

  /** True while a handler of the delivery runs, or its outcome is being written. */
  get isBusy(): boolean {
    return this.#isBusy
  }

  /** A replay has none: its dead letter may be replayed again, as an equal message. */
  get identity(): string | undefined {
    return this.replayTarget === undefined ? identityOf(this.#raw) : undefined
  }

  describe(): Readonly<Record<string, string | number>> {
    const { routingKey, deliveryTag } = this.#raw.fields
    const { partition } = this.#owner
    return {
      ...(partition === undefined ? {} : { 'messaging.destination.partition.id': String(partition) }),
      'messaging.rabbitmq.destination.routing_key': routingKey,
      'messaging.rabbitmq.message.delivery_tag': deliveryTag,
    }
  }

  begin(): boolean {
    if (!this.#acks.isOpen || !this.#owner.mayStart()) return false
    // If it was redelivered, its wait may have ended before its dead letter was stored.
    const isOver = isRedelivered(this.#raw)
      ? this.#owner.takeSettled(this.#raw)
      : this.#owner.lines?.isOver(this.#placed) === true
    if (!isOver) {
      this.#isStarted = true
      // Later attempts start in `beginAttempt`, after they are recorded.
      this.#isAttempting = this.deliveryCount === 1
      this.#isBusy = this.#isAttempting
      return true
    }
    this.ack()
    return false
  }

  async beginAttempt(attempt: number, settledHandlers: readonly string[]): Promise<boolean> {
    if (!this.#acks.isOpen || !this.#owner.mayStart()) return false
    this.#attempt = attempt
    this.#isAttempting = true
    // If the process stood still while the mark was stored, the broker may have given the message to another consumer.
    return this.#busily(true, async () => (await this.#writeMark(settledHandlers)) && this.#owner.mayStart())
  }

  async attemptFailed(_attempt: number, settledHandlers: readonly string[]): Promise<boolean> {
    this.#isAttempting = false
    return this.#busily(false, async () => {
      if (isRecorded(settledHandlers, this.#markedHandlers)) return true
      return this.#acks.isOpen && this.#writeMark(settledHandlers)
    })
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
    // The partition was given up while this waited for a broker that did not accept the dead letter.
    if (!this.#acks.isOpen && !this.#owner.mayStart()) return false
    await this.#busily(false, async () => {
      const { lines } = this.#owner
      const places = lines?.placesOf(this.#placed, reason.parkedFor ?? []) ?? NO_PLACES
      await this.#owner.publishDeadLetter(this.#raw, reason, places)
      await lines?.park(this.#placed, places)
      this.ack()
      return true
    })
    return true
  }

  async postpone(wait: Wait): Promise<boolean> {
    this.#isAttempting = false
    // The broker redelivers the message.
    if (!this.#acks.isOpen) return false
    // Its acknowledgment follows.
    return this.#busily(true, async () => {
      const { lines } = this.#owner
      if (wait.keepsOrder && lines !== undefined && this.message.key !== undefined) {
        await lines.add(this.#placed, wait)
      } else await this.#owner.postpone(this.#raw, wait)
      return true
    })
  }

  async waitBehind(handlerName: string, limit: number): Promise<number | undefined> {
    let before: number | undefined
    await this.#busily(this.#isAttempting, async () => {
      if (!this.#acks.isOpen || !this.#owner.mayStart()) return false
      const found = (await this.#owner.lines?.addBehind(this.#placed, handlerName, limit)) ?? 0
      const isStored = found > 0 && found < limit
      // Otherwise, the broker redelivers the message. Its consumer does not wait for a handler that will not run.
      if (!this.#acks.isOpen || !(isStored || this.#owner.mayStart())) return false
      before = found
      return true
    })
    return before
  }

  async passOn(except: readonly string[] = []): Promise<boolean> {
    if (!this.#acks.isOpen) return false
    await this.#busily(true, async () => {
      await this.#owner.lines?.passOn(this.#placed, except)
      return true
    })
    return this.#acks.isOpen
  }

  get #placed(): PlacedMessage {
    return { raw: this.#raw, key: this.message.key, replayTarget: this.replayTarget }
  }

  /** @param isBusyAfter - whether a handler runs if the work returns true. */
  async #busily(isBusyAfter: boolean, work: () => Promise<boolean>): Promise<boolean> {
    this.#isBusy = true
    let isDone = false
    try {
      isDone = await work()
      return isDone
    } finally {
      this.#isBusy = isDone && isBusyAfter
      this.#owner.rested?.()
    }
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

/** True if the message was published to the group alone: it is a replay, or has waited. */
export function isReplayed(
  { fields }: AmqpMessage,
  { replayExchange }: Pick<DeliveryOwner, 'replayExchange'>,
): boolean {
  return fields.exchange === replayExchange
}

/**
 * True if the message was published to the group alone, as a replay is, and not to the bus's exchange. The broker sets
 * the exchange of a message, so a producer cannot forge it. A broker that dead-letters to this group also uses the
 * same exchange, but adds `x-death`, which a replay does not have.
 */
function isReplay({ fields, properties }: AmqpMessage, replayExchange: string): boolean {
  return fields.exchange === replayExchange && properties.headers?.['x-death'] === undefined
}
