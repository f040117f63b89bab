import { IdleCounter } from '../../kit/idle-counter.ts'
import { settledUntil } from '../../kit/time.ts'
import type { ConnectionError } from '../../transport/errors.ts'
import type { DeadLetterReason } from '../../transport/transport.ts'
import type { Wait } from '../../transport/waiting.ts'
import type { AmqpConnection, AmqpMessage } from '../client/client.ts'
import type { ChannelOwner, RabbitMQConnection, WithChannel } from '../client/connection.ts'
import { INSTANCE_EXPIRES_MS } from '../client/topology.ts'
import { storeDeadLetter } from '../dead-letters/store-dead-letter.ts'
import type { RabbitMQAcks } from './acks.ts'
import { type Arrival, RabbitMQArrivals } from './arrivals.ts'
import {
  type AttemptMark,
  MARK_EXPIRES_MS,
  type MarkedMessage,
  RabbitMQAttemptMarks,
} from './attempt-marks.ts'
import { ConsumerChannel, type ConsumerChannelObserver } from './consumer-channel.ts'
import {
  type DeliveryOwner,
  type HeldPlaces,
  isRedelivered,
  isReplayed,
  RabbitMQDelivery,
} from './delivery.ts'
import type { ConsumptionParts, GroupConsumption } from './group-consumption.ts'
import { RabbitMQGroupQueue } from './group-queue.ts'
import { HeldMessages } from './held-messages.ts'
import { PrefetchWindow, replacementOf } from './prefetch-window.ts'
import { ReplacedConsumer } from './replaced-consumer.ts'
import { SettledMessages } from './settled-messages.ts'
import { StandstillWatch } from './standstill-watch.ts'
import { SurplusMessages } from './surplus-messages.ts'
import type { RabbitMQWaitingLines } from './waiting-lines.ts'

/** Interval between two checks of the exchange and the bindings, in milliseconds. */
const CHECK_MS = 5000

/** Consumes from the group's queue, on a connection of its own. */
export class RabbitMQConsumption
  implements GroupConsumption, ChannelOwner, DeliveryOwner, ConsumerChannelObserver
{
  readonly replayExchange = ''
  readonly #parts: ConsumptionParts
  readonly #connection: RabbitMQConnection
  readonly #queue: RabbitMQGroupQueue
  readonly #marks: RabbitMQAttemptMarks
  readonly #arrivals: RabbitMQArrivals
  readonly #watch: StandstillWatch
  readonly #held = new HeldMessages()
  readonly #settled = new SettledMessages()
  readonly #housekeeping = new IdleCounter()
  readonly #window: PrefetchWindow
  readonly #surplus = new SurplusMessages()
  readonly #replaced: ReplacedConsumer
  /** Calls of `#consumeAgain` that have not ended. */
  #consumingAgain = 0
  #lines: RabbitMQWaitingLines | undefined
  #channel: ConsumerChannel | undefined
  /** Counts the consumers on the broker, so that each gets a tag of its own. */
  #consumerNumber = 0
  /** The last delivery on the channel before its consumer started. */
  #tagBeforeConsumer = 0
  #isStopped = false
  #checkTimer: NodeJS.Timeout | undefined

  constructor(parts: ConsumptionParts) {
    this.#parts = parts
    this.#connection = parts.connect(this)
    this.#queue = new RabbitMQGroupQueue({ ...parts, connection: this.#connection })
    const { names, heartbeatMs, prefetchCount, maxInFlight, maxInFlightBytes } = parts.options
    this.#marks = new RabbitMQAttemptMarks({
      queue: names.queue,
      expiresMs: parts.options.broadcast ? INSTANCE_EXPIRES_MS : MARK_EXPIRES_MS,
      publisher: parts.publisher,
      withChannel: (work) => this.#connection.withChannel(work),
    })
    this.#arrivals = new RabbitMQArrivals({
      intake: parts.intake,
      readMark: (message) => this.#marks.read(message),
      unreadable: (acks, error) => {
        // Reopening makes the broker redeliver the message.
        this.#connection.reopen(error)
        acks.close()
      },
      deliveryOf: (arrival, mark) => this.#deliveryOf(arrival, mark),
    })
    this.#window = new PrefetchWindow({
      replacement: replacementOf(parts.options),
      room: this.#arrivals,
      maxPrefetch: Math.min(prefetchCount, maxInFlight),
      maxBytes: maxInFlightBytes,
    })
    this.#replaced = new ReplacedConsumer({
      window: this.#window,
      surplus: this.#surplus,
      marks: this.#marks,
      intake: parts.intake,
      channel: () => (this.#isStopped ? undefined : this.#channel),
      consumeFrom: (channel) => this.#consumeFrom(channel),
      failed: (channel, error) => {
        // A stop closes the channel, too.
        if (this.#channel === channel) this.#connection.reopen(error)
      },
      runInBackground: (work) => this.#runInBackground(work),
    })
    this.#watch = new StandstillWatch(heartbeatMs, (elapsedMs) => this.#onStandstill(elapsedMs))
  }

  async start(): Promise<void> {
    this.#watch.start()
    await this.#connection.open()
    try {
      await this.updateBindings()
    } catch (error) {
      // If the connection is lost by now, the next one opens with all bindings.
      if (this.#connection.isOpen) throw error
    }
    await this.#queue.recorded
    this.#checkTimer = setInterval(() => this.#runInBackground(this.#check()), CHECK_MS).unref()
  }

  updateBindings(): Promise<void> {
    return this.#queue.updateBindings()
  }

  async open(connection: AmqpConnection): Promise<void> {
    await this.#queue.declare(this.#consumerNumber > 0)
    const channel = await ConsumerChannel.open(connection, this)
    this.#channel = channel
    await this.#consumeFrom(channel)
    this.#lines = this.#parts.waiting.linesFor({
      partition: undefined,
      connection,
      isActive: () => this.#channel === channel && channel.acks.lastTag > this.#tagBeforeConsumer,
    })
    // Bindings that changed meanwhile are applied once the connection counts as open.
    setImmediate(() => this.#runInBackground(this.updateBindings()))
  }

  closed(_error: ConnectionError): void {
    this.#abandonChannel()
    void this.#lines?.close()
    this.#held.clear()
    this.#arrivals.clear()
    this.#surplus.close()
  }

  get limitedPrefetch(): number | undefined {
    return this.#window.isLimited ? this.#window.prefetch : undefined
  }

  get lines(): RabbitMQWaitingLines | undefined {
    return this.#lines
  }

  get isFlowing(): boolean {
    return this.#connection.isOpen
  }

  async stopFetching(): Promise<void> {
    this.#stop()
    // Without its active consumer, the queue would pass on later messages before those that are still held here. So the
    // consumer stays until the channel closes, and the broker returns all messages before it chooses the next consumer.
    if (!this.#parts.options.singleActiveConsumer) await this.#channel?.stopConsuming()
  }

  async release(signal: AbortSignal): Promise<void> {
    this.#stop()
    const { broadcast } = this.#parts.options
    const returned = broadcast ? this.#removeQueue() : this.#returnUnsettled()
    await settledUntil(Promise.all([returned, this.#lines?.close()]), signal)
    await this.#connection.close(signal)
  }

  arrived(message: AmqpMessage, acks: RabbitMQAcks): void {
    const unacked = acks.add(message.fields.deliveryTag, isReplayed(message, this) ? undefined : message)
    if (this.#isStopped) {
      this.#held.addUndelivered([message])
      return
    }
    this.#window.note(message.content.length)
    const { replacement } = this.#window
    if (this.#surplus.isOpen || (replacement === 'returning' && this.#arrivals.roomBytes === 0)) {
      const mark = isRedelivered(message) ? undefined : this.#marks.queueOf(message)
      if (this.#surplus.add({ unacked, mark })) this.#replaced.replace()
      return
    }
    const isDue = replacement === 'full' ? this.#isFull(acks) : replacement === 'overlapping'
    if (isDue && (this.#window.isWide || this.#window.isNarrow)) this.#replaced.replace()
    const work = this.#arrivals.add({ message, unacked, acks })
    if (work !== undefined) this.#runInBackground(work)
  }

  cancelled(channel: ConsumerChannel): void {
    if (this.#isStopped || this.#channel !== channel) return
    this.#runInBackground(this.#consumeAgain(channel))
  }

  channelClosed(channel: ConsumerChannel, cause: Error | undefined): void {
    if (this.#channel !== channel) return
    this.#channel = undefined
    this.#settled.addKeys(channel.acks.takeUncertain())
    // If the connection closed too, it reports its loss within this turn, and `reopen` is a no-op.
    setImmediate(() => this.#connection.reopen(cause))
  }

  mayStart(): boolean {
    // While the connection is being opened, it cannot be reopened.
    if (!this.#watch.isStandstill || !this.#connection.isOpen) return true
    this.#watch.check()
    return false
  }

  settled(delivery: RabbitMQDelivery): void {
    this.#held.settle(delivery)
    if (this.#window.replacement !== 'full' && this.#window.isNarrow) this.#replaced.replace()
  }

  writeMark(marked: MarkedMessage): Promise<void> {
    return this.#marks.write(marked)
  }

  removeMark(message: AmqpMessage): void {
    this.#runInBackground(this.#marks.remove(message))
  }

  rememberSettled(message: AmqpMessage): void {
    if (!this.#isStopped) this.#settled.add(message)
  }

  takeSettled(message: AmqpMessage): boolean {
    return this.#settled.take(message)
  }

  async publishDeadLetter(message: AmqpMessage, reason: DeadLetterReason, places: HeldPlaces): Promise<void> {
    const withChannel: WithChannel = (work) => this.#connection.withChannel(work)
    await storeDeadLetter({ ...this.#parts, withChannel }, message, reason, places)
  }

  postpone(message: AmqpMessage, wait: Wait): Promise<void> {
    return this.#parts.waiting.add(message, wait)
  }

  #stop(): void {
    this.#isStopped = true
    clearInterval(this.#checkTimer)
    this.#watch.stop()
    this.#held.addUndelivered(this.#arrivals.stop())
  }

  #onStandstill(elapsedMs: number): void {
    this.#channel?.acks.flush()
    this.#connection.reopen(new Error(`this process did not run for ${Math.round(elapsedMs)} ms`))
  }

  async #returnUnsettled(): Promise<void> {
    const channel = this.#channel
    this.#channel = undefined
    channel?.acks.flush()
    const isOpen = channel?.acks.isOpen === true
    channel?.acks.close()
    // The marks come first: another consumer gets the messages as soon as the channel closes.
    await this.#marks.writeAll(isOpen ? this.#held.returnMarks() : [])
    await this.#marks.writeReturned(isOpen ? this.#surplus.marks : [])
    // The broker answers the close after it has read the acknowledgments.
    await Promise.allSettled([channel?.close(), this.#housekeeping.whenIdle()])
  }

  /** Removes the queue of an instance that broadcasts. It expires if that fails. */
  async #removeQueue(): Promise<void> {
    this.#abandonChannel()
    const { queue } = this.#parts.options.names
    await this.#connection.withChannel((channel) => channel.deleteQueue(queue)).catch(() => undefined)
  }

  /** Closes a channel that may still be open: it must not hold messages in addition to the next one. */
  #abandonChannel(): void {
    const channel = this.#channel
    this.#channel = undefined
    channel?.acks.close()
    this.#settled.addKeys(channel?.acks.takeUncertain() ?? [])
    void channel?.close()
  }

  async #consumeFrom(channel: ConsumerChannel): Promise<void> {
    const { queue } = this.#parts.options.names
    this.#consumerNumber += 1
    this.#tagBeforeConsumer = channel.acks.lastTag
    await channel.consume({ queue, consumerTag: this.#consumerTag, prefetch: this.#window.prefetch })
  }

  /** True if all messages that the broker may send to the consumer have arrived. */
  #isFull(acks: RabbitMQAcks): boolean {
    return acks.countAfter(this.#tagBeforeConsumer) >= this.#window.prefetch
  }

  /** Restores what is gone on the broker. It does not always cancel the consumer of a queue that is deleted. */
  async #check(): Promise<void> {
    const [channel, number] = [this.#channel, this.#consumerNumber]
    const missing = await this.#queue.check()
    if (missing.length === 0 || channel === undefined || this.#consumingAgain > 0 || this.#isStopped) return
    const isSame = channel === this.#channel && number === this.#consumerNumber
    if (isSame) await this.#consumeAgain(channel)
  }

  async #consumeAgain(channel: ConsumerChannel): Promise<void> {
    this.#consumingAgain += 1
    try {
      await this.#queue.declareAgain()
      await this.#consumeFrom(channel)
      await this.#lines?.groupQueueLost()
    } catch (error) {
      if (this.#channel === channel) this.#connection.reopen(error)
    } finally {
      this.#consumingAgain -= 1
    }
  }

  get #consumerTag(): string {
    return `${this.#parts.options.consumerName.slice(0, 60)}-${this.#consumerNumber}`
  }

  #deliveryOf({ message, unacked, acks }: Arrival, mark: AttemptMark | undefined): RabbitMQDelivery {
    const id = `${this.#consumerTag}/${unacked.tag}`
    const delivery = new RabbitMQDelivery(message, id, unacked, acks, this, mark)
    this.#held.add(delivery)
    return delivery
  }

  /** Runs work that no caller awaits. It fails only with the connection, which is restored on its own. */
  #runInBackground(work: Promise<unknown>): void {
    this.#housekeeping.track(work).catch(() => undefined)
  }
}
