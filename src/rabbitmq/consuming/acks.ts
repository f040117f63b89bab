import type { AmqpChannel, AmqpMessage } from '../client/client.ts'
import { settledKeyOf } from './settled-messages.ts'

/** A delivery on a channel, until it is acknowledged. */
export interface UnackedDelivery {
  readonly tag: number
  isSettled: boolean
  /** See {@link settledKeyOf}; undefined if the message is not remembered. */
  readonly key: string | undefined
}

/** Without acknowledgments, the broker delivers at most the prefetch. So no more of them can be lost. */
const MOST_LOST = 1000

/**
 * The acknowledgments of one channel, sent together once per turn of the event loop. One `multiple` acknowledgment covers
 * all deliveries before the oldest unsettled one; those after it are acknowledged one by one.
 */
export class RabbitMQAcks {
  readonly #channel: Pick<AmqpChannel, 'ack' | 'nack'>
  /** In the order of their tags. */
  #unacked: UnackedDelivery[] = []
  #settled = 0
  #lastTag = 0
  #isScheduled = false
  #isHeld = false
  #isClosed = false
  /** The keys of the last deliveries whose acknowledgments were sent, and may be lost with the connection. */
  #sent: string[] = []

  constructor(channel: Pick<AmqpChannel, 'ack' | 'nack'>) {
    this.#channel = channel
  }

  /** False after the channel is closed: the broker redelivers the messages that were not acknowledged on it. */
  get isOpen(): boolean {
    return !this.#isClosed
  }

  /** The tag of the last delivery; 0 before the first. */
  get lastTag(): number {
    return this.#lastTag
  }

  /** Deliveries after a tag whose acknowledgment was not sent. */
  countAfter(tag: number): number {
    return this.#unacked.length - this.#unacked.findLastIndex((delivery) => delivery.tag <= tag) - 1
  }

  /** Sends no acknowledgment until {@link resume}. */
  hold(): void {
    this.#isHeld = true
  }

  resume(): void {
    this.#isHeld = false
    this.flush()
  }

  /** @param message - to remember if its acknowledgment is lost; undefined if it must then be handled again. */
  add(tag: number, message?: AmqpMessage): UnackedDelivery {
    this.#lastTag = tag
    const key = message === undefined ? undefined : settledKeyOf(message)
    const delivery = { tag, isSettled: false, key }
    this.#unacked.push(delivery)
    return delivery
  }

  settle(delivery: UnackedDelivery): void {
    if (delivery.isSettled || this.#isClosed) return
    delivery.isSettled = true
    this.#settled += 1
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => this.flush())
  }

  flush(): void {
    this.#isScheduled = false
    if (this.#isHeld || this.#isClosed || this.#settled === 0) return
    const firstUnsettled = this.#unacked.findIndex(({ isSettled }) => !isSettled)
    const leading = firstUnsettled === -1 ? this.#unacked.length : firstUnsettled
    const last = this.#unacked[leading - 1]
    this.#noteSent()
    if (last !== undefined) this.#ack(last.tag, leading > 1)
    const rest = this.#unacked.slice(leading)
    for (const { tag, isSettled } of rest) if (isSettled) this.#ack(tag, false)
    this.#unacked = this.#settled === leading ? rest : rest.filter(({ isSettled }) => !isSettled)
    this.#settled = 0
  }

  /** Returns unsettled deliveries to their places in the queue. */
  requeue(deliveries: readonly UnackedDelivery[]): void {
    const returned = new Set(deliveries)
    this.#unacked = this.#unacked.filter((delivery) => !returned.has(delivery))
    for (const { tag } of deliveries) {
      if (this.#isClosed) return
      this.#send((channel) => channel.nack({ fields: { deliveryTag: tag } }, false, true))
    }
  }

  /** Sends nothing from now on. */
  close(): void {
    if (this.#settled > 0) this.#noteSent()
    this.#settled = 0
    this.#isClosed = true
    this.#unacked = []
  }

  /** The keys of settled deliveries whose acknowledgments may not have reached the broker. They are then forgotten. */
  takeUncertain(): readonly string[] {
    const keys = this.#sent
    this.#sent = []
    return keys
  }

  /** Notes the settled deliveries, right before their acknowledgments are sent. */
  #noteSent(): void {
    for (const { key, isSettled } of this.#unacked) if (isSettled && key !== undefined) this.#sent.push(key)
    // Not for each of them, so that the work per delivery stays constant.
    if (this.#sent.length > 2 * MOST_LOST) this.#sent = this.#sent.slice(-MOST_LOST)
  }

  #ack(deliveryTag: number, allUpTo: boolean): void {
    this.#send((channel) => channel.ack({ fields: { deliveryTag } }, allUpTo))
  }

  #send(frame: (channel: Pick<AmqpChannel, 'ack' | 'nack'>) => void): void {
    try {
      frame(this.#channel)
    } catch {
      // The channel closed within this turn: the broker redelivers the message.
      this.#isClosed = true
    }
  }
}
