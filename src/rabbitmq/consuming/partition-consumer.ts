import type { DeadLetterReason, Intake } from '../../transport/transport.ts'
import type { Wait } from '../../transport/waiting.ts'
import type { AmqpConnection, AmqpMessage } from '../client/client.ts'
import type { RabbitMQAcks } from './acks.ts'
import { type Arrival, RabbitMQArrivals } from './arrivals.ts'
import type { AttemptMark, MarkedMessage, RabbitMQAttemptMarks } from './attempt-marks.ts'
import { ConsumerChannel, type ConsumerChannelObserver } from './consumer-channel.ts'
import { type DeliveryOwner, type HeldPlaces, isReplayed, RabbitMQDelivery } from './delivery.ts'
import { HeldMessages } from './held-messages.ts'
import type { SettledMessages } from './settled-messages.ts'
import type { RabbitMQWaitingLines } from './waiting-lines.ts'
import type { LinesConsumer } from './waiting-queues.ts'

/** What the consumers of all partitions share. */
export interface PartitionConsumerParts {
  readonly replayExchange: string
  readonly prefetch: number
  readonly intake: Intake
  readonly marks: RabbitMQAttemptMarks
  readonly settled: SettledMessages
  /** See {@link DeliveryOwner.mayStart}. */
  readonly mayStart: () => boolean
  readonly storeDeadLetter: DeliveryOwner['publishDeadLetter']
  readonly postpone: (message: AmqpMessage, wait: Wait) => Promise<void>
  readonly linesFor: (consumer: LinesConsumer) => RabbitMQWaitingLines | undefined
  /** The channel is of no further use. */
  readonly failed: (cause: unknown) => void
  /** The broker cancelled the consumer: its queue was deleted, or moved to another node. */
  readonly cancelled: (consumer: PartitionConsumer) => void
  /** Runs work that no caller awaits. */
  readonly runInBackground: (work: Promise<unknown>) => void
}

/**
 * A consumer of one partition, on a channel of its own, from its start until it gives the partition up. The broker makes
 * it the active one after those before it have gone. When its channel closes, the broker returns its unacknowledged
 * messages to their places in the queue, and only then makes the next consumer the active one.
 */
export class PartitionConsumer implements DeliveryOwner, ConsumerChannelObserver {
  readonly partition: number
  readonly queue: string
  readonly replayExchange: string
  readonly #consumerTag: string
  readonly #parts: PartitionConsumerParts
  readonly #arrivals: RabbitMQArrivals
  readonly #held = new HeldMessages()
  readonly #rested = Promise.withResolvers<void>()
  #channel: ConsumerChannel | undefined
  #leaving: Promise<void> | undefined
  #returning: Promise<void> | undefined
  #isStopped = false
  #hasReceived = false
  /** True while it is certainly the active consumer. */
  #isActive = false
  #lines: RabbitMQWaitingLines | undefined

  constructor(
    target: { readonly partition: number; readonly queue: string; readonly consumerTag: string },
    parts: PartitionConsumerParts,
  ) {
    this.partition = target.partition
    this.replayExchange = parts.replayExchange
    this.queue = target.queue
    this.#consumerTag = target.consumerTag
    this.#parts = parts
    this.#arrivals = new RabbitMQArrivals({
      intake: parts.intake,
      readMark: (message) => parts.marks.read(message),
      unreadable: (acks, error) => {
        // Reopening makes the broker redeliver the message.
        parts.failed(error)
        acks.close()
      },
      deliveryOf: (arrival, mark) => this.#deliveryOf(arrival, mark),
    })
  }

  /** True once the broker has made it the active consumer, as far as a message shows that. */
  get hasReceived(): boolean {
    return this.#hasReceived
  }

  get isLeaving(): boolean {
    return this.#isStopped
  }

  async start(connection: AmqpConnection): Promise<void> {
    this.#channel = await ConsumerChannel.open(connection, this)
    const { partition } = this
    this.#lines = this.#parts.linesFor({ partition, connection, isActive: () => this.#isActive })
    await this.consume()
  }

  get lines(): RabbitMQWaitingLines | undefined {
    return this.#lines
  }

  /** Called again if the broker cancelled the consumer. */
  async consume(): Promise<void> {
    const { prefetch } = this.#parts
    await this.#channel?.consume({ queue: this.queue, consumerTag: this.#consumerTag, prefetch })
  }

  /** Starts no further handler, waits for those that run, and passes the partition on. Never rejects. */
  leave(): Promise<void> {
    this.#leaving ??= this.#leave()
    return this.#leaving
  }

  /** Passes the partition on without waiting for the handlers that run. Never rejects. */
  giveBack(): Promise<void> {
    this.#returning ??= this.#return()
    return this.#returning
  }

  /** The connection is lost, and all messages with it. */
  abandon(): void {
    this.#stop()
    const channel = this.#channel
    this.#channel = undefined
    this.#isActive = false
    void this.#lines?.close()
    this.#held.clear()
    this.#rested.resolve()
    channel?.acks.close()
    this.#parts.settled.addKeys(channel?.acks.takeUncertain() ?? [])
    void channel?.close()
  }

  arrived(message: AmqpMessage, acks: RabbitMQAcks): void {
    const unacked = acks.add(message.fields.deliveryTag, isReplayed(message, this) ? undefined : message)
    this.#hasReceived = true
    this.#isActive = true
    if (this.#isStopped) {
      this.#held.addUndelivered([message])
      return
    }
    const work = this.#arrivals.add({ message, unacked, acks })
    if (work !== undefined) this.#parts.runInBackground(work)
  }

  cancelled(): void {
    this.#isActive = false
    if (!this.#isStopped) this.#parts.cancelled(this)
  }

  channelClosed(channel: ConsumerChannel, cause: Error | undefined): void {
    if (this.#channel !== channel) return
    this.#channel = undefined
    this.#isActive = false
    this.#parts.settled.addKeys(channel.acks.takeUncertain())
    void this.#lines?.close()
    this.#rested.resolve()
    // If the connection closed too, it reports its loss within this turn.
    setImmediate(() => this.#parts.failed(cause))
  }

  mayStart(): boolean {
    return !this.#isStopped && this.#parts.mayStart()
  }

  rested(): void {
    if (this.#isStopped && !this.#held.isBusy) this.#rested.resolve()
  }

  settled(delivery: RabbitMQDelivery): void {
    this.#held.settle(delivery)
    this.rested()
  }

  writeMark(marked: MarkedMessage): Promise<void> {
    return this.#parts.marks.write(marked)
  }

  removeMark(message: AmqpMessage): void {
    this.#parts.runInBackground(this.#parts.marks.remove(message))
  }

  publishDeadLetter(message: AmqpMessage, reason: DeadLetterReason, places: HeldPlaces): Promise<void> {
    return this.#parts.storeDeadLetter(message, reason, places)
  }

  postpone(message: AmqpMessage, wait: Wait): Promise<void> {
    return this.#parts.postpone(message, wait)
  }

  rememberSettled(message: AmqpMessage): void {
    this.#parts.settled.add(message)
  }

  takeSettled(message: AmqpMessage): boolean {
    return this.#parts.settled.take(message)
  }

  #stop(): void {
    this.#isStopped = true
    this.#held.addUndelivered(this.#arrivals.stop())
  }

  async #leave(): Promise<void> {
    this.#stop()
    if (this.#held.isBusy) await this.#rested.promise
    await this.giveBack()
  }

  async #return(): Promise<void> {
    this.#stop()
    const channel = this.#channel
    this.#channel = undefined
    this.#isActive = false
    const left = this.#lines?.close()
    if (channel === undefined) return
    channel.acks.flush()
    const isOpen = channel.acks.isOpen
    channel.acks.close()
    // The marks come first: another consumer gets the messages as soon as the channel closes.
    await this.#parts.marks.writeAll(isOpen ? this.#held.returnMarks() : [])
    await Promise.all([channel.close(), left])
  }

  #deliveryOf({ message, unacked, acks }: Arrival, mark: AttemptMark | undefined): RabbitMQDelivery {
    const delivery = new RabbitMQDelivery(
      message,
      `${this.#consumerTag}/${unacked.tag}`,
      unacked,
      acks,
      this,
      mark,
    )
    this.#held.add(delivery)
    return delivery
  }
}
