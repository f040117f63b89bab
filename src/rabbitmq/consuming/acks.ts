import type { AmqpChannel } from '../client/client.ts'

/** A delivery on a channel, until it is acknowledged. */
export interface UnackedDelivery {
  readonly tag: number
  isSettled: boolean
}

/**
 * The acknowledgments of one channel, sent together once per turn of the event loop. One `multiple` acknowledgment covers
 * all deliveries before the oldest unsettled one; those after it are acknowledged one by one.
 */
export class RabbitMQAcks {
  readonly #channel: Pick<AmqpChannel, 'ack' | 'nack'>
  /** In the order of their tags. */
  #unacked: UnackedDelivery[] = []
  #settled = 0
  #isScheduled = false
  #isClosed = false

  constructor(channel: Pick<AmqpChannel, 'ack' | 'nack'>) {
    this.#channel = channel
  }

  /** False after the channel is closed: the broker redelivers the messages that were not acknowledged on it. */
  get isOpen(): boolean {
    return !this.#isClosed
  }

  add(tag: number): UnackedDelivery {
    const delivery = { tag, isSettled: false }
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
    if (this.#isClosed || this.#settled === 0) return
    const firstUnsettled = this.#unacked.findIndex(({ isSettled }) => !isSettled)
    const leading = firstUnsettled === -1 ? this.#unacked.length : firstUnsettled
    const last = this.#unacked[leading - 1]
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
    this.#isClosed = true
    this.#unacked = []
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
