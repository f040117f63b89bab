import type { ConnectionError } from '../../transport/errors.ts'
import type { BusNotice } from '../../transport/notices.ts'
import type { Consumption, DeadLetterReason, Intake } from '../../transport/transport.ts'
import type { AmqpConnection, AmqpMessage } from '../client/client.ts'
import type { ConnectionSession, RabbitMQConnection, WithChannel } from '../client/connection.ts'
import type { RabbitMQTopology } from '../client/topology.ts'
import { deadLetterOf } from '../dead-letters/dead-letter-message.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import type { RabbitMQPublisher } from '../publishing/publisher.ts'
import type { RabbitMQAcks } from './acks.ts'
import { type Arrival, RabbitMQArrivals } from './arrivals.ts'
import { type AttemptMark, type AttemptNote, RabbitMQAttemptMarks } from './attempt-marks.ts'
import type { RabbitMQBindings } from './bindings.ts'
import { ConsumerChannel, type ConsumerChannelObserver } from './consumer-channel.ts'
import { type DeliveryKeeper, isRedelivered, RabbitMQDelivery } from './delivery.ts'
import { RabbitMQGroupQueue } from './group-queue.ts'
import { SettledMessages } from './settled-messages.ts'

export interface ConsumptionParts {
  readonly options: ResolvedRabbitMQOptions
  readonly topology: RabbitMQTopology
  readonly bindings: RabbitMQBindings
  readonly publisher: RabbitMQPublisher
  readonly intake: Intake
  /** Makes the connection that the consumption lives on. */
  readonly connect: (session: ConnectionSession) => RabbitMQConnection
  readonly notify: (notice: BusNotice) => void
  readonly withPublisherChannel: WithChannel
}

/** How often the queue and what it hangs on are looked after, in milliseconds. */
const CHECK_MS = 5000

/** Consumes from the group's queue, on a connection of its own. */
export class RabbitMQConsumption
  implements Consumption, ConnectionSession, DeliveryKeeper, ConsumerChannelObserver
{
  readonly #parts: ConsumptionParts
  readonly #connection: RabbitMQConnection
  readonly #queue: RabbitMQGroupQueue
  readonly #marks: RabbitMQAttemptMarks
  readonly #arrivals: RabbitMQArrivals
  readonly #settled = new SettledMessages()
  readonly #housekeeping = new Set<Promise<unknown>>()
  /** What was handed to the pipeline and is not settled. */
  readonly #held = new Set<RabbitMQDelivery>()
  /** What came for the first time and was not even handed on when this stopped. */
  #untouched: readonly AmqpMessage[] = []
  #channel: ConsumerChannel | undefined
  /** Counts the consumers, so that each has a tag of its own. */
  #epoch = 0
  #isStopped = false
  #checkTimer: NodeJS.Timeout | undefined
  /** When this process last had a turn, by the monotonic clock. */
  #turnAt = performance.now()
  #turnTimer: NodeJS.Timeout | undefined

  constructor(parts: ConsumptionParts) {
    this.#parts = parts
    this.#connection = parts.connect(this)
    this.#queue = new RabbitMQGroupQueue({ ...parts, connection: this.#connection })
    const { names } = parts.options
    this.#marks = new RabbitMQAttemptMarks(names.queue, parts.publisher, (work) =>
      this.#connection.withChannel(work),
    )
    this.#arrivals = new RabbitMQArrivals({
      intake: parts.intake,
      readMark: (message) => this.#marks.read(message),
      unreadable: (acks, error) => {
        // Start over, and get it again.
        this.#connection.sessionLost(error)
        acks.close()
      },
      deliveryOf: (arrival, mark) => this.#deliveryOf(arrival, mark),
    })
  }

  /** Resolves when deliveries may flow. */
  async start(): Promise<void> {
    // Before anything comes.
    this.#turnAt = performance.now()
    const everyMs = Math.min(this.#parts.options.heartbeatMs / 4, CHECK_MS)
    this.#turnTimer = setInterval(() => this.#takeTurn(), everyMs).unref()
    await this.#connection.open()
    try {
      await this.updateBindings()
    } catch (error) {
      // A connection that is lost by now is made again with all bindings.
      if (this.#connection.isOpen) throw error
    }
    this.#checkTimer = setInterval(() => this.#keep(this.#queue.check()), CHECK_MS)
    this.#checkTimer.unref()
  }

  /** Follows a change of the bindings. */
  updateBindings(): Promise<void> {
    return this.#queue.updateBindings()
  }

  async open(connection: AmqpConnection): Promise<void> {
    await this.#queue.declare(this.#epoch > 0)
    const channel = await ConsumerChannel.open(connection, this)
    this.#channel = channel
    await this.#consumeFrom(channel)
    // What was bound or taken off meanwhile; once it counts as open.
    setImmediate(() => this.#keep(this.updateBindings()))
  }

  closed(_error: ConnectionError): void {
    this.#leaveChannel()
    this.#held.clear()
    this.#untouched = []
    this.#arrivals.clear()
  }

  get isFlowing(): boolean {
    return this.#connection.isOpen
  }

  async stopFetching(): Promise<void> {
    this.#stop()
    await this.#channel?.stopConsuming()
  }

  async release(signal: AbortSignal): Promise<void> {
    this.#stop()
    const late = Promise.withResolvers<void>()
    signal.addEventListener('abort', () => late.resolve(), { once: true })
    await Promise.race([this.#giveBack(), late.promise])
    await this.#connection.close(signal)
  }

  arrived(message: AmqpMessage, acks: RabbitMQAcks): void {
    const unacked = acks.add(message.fields.deliveryTag)
    if (this.#isStopped) {
      this.#leave([message])
      return
    }
    const work = this.#arrivals.add({ message, unacked, acks })
    if (work !== undefined) this.#keep(work)
  }

  cancelled(channel: ConsumerChannel): void {
    if (this.#isStopped || this.#channel !== channel) return
    this.#keep(this.#consumeAgain(channel))
  }

  channelClosed(channel: ConsumerChannel, cause: Error | undefined): void {
    if (this.#channel !== channel) return
    this.#channel = undefined
    // If it went with its connection, that is told in the same turn, and is the better news.
    setImmediate(() => this.#connection.sessionLost(cause))
  }

  /** What lies in the socket of a process that wakes is handled before it learns that the broker hung up. */
  mayBegin(): boolean {
    const stoodStillMs = performance.now() - this.#turnAt
    // One that is just being set up cannot start over yet.
    if (stoodStillMs < this.#parts.options.heartbeatMs || !this.#connection.isOpen) return true
    this.#takeTurn()
    return false
  }

  settled(delivery: RabbitMQDelivery): void {
    this.#held.delete(delivery)
  }

  mark(note: AttemptNote): Promise<void> {
    return this.#marks.write(note)
  }

  unmark(message: AmqpMessage): void {
    this.#keep(this.#marks.remove(message))
  }

  rememberSettled(message: AmqpMessage): void {
    if (!this.#isStopped) this.#settled.add(message)
  }

  wasSettled(message: AmqpMessage): boolean {
    return this.#settled.take(message)
  }

  async bury(message: AmqpMessage, reason: DeadLetterReason): Promise<void> {
    const { options, publisher, topology } = this.#parts
    const letter = deadLetterOf(options.names, message, reason)
    try {
      await publisher.publishRaw(letter)
    } catch {
      // Exchange or queue may have been deleted. A second failure is for the caller.
      await this.#connection.withChannel((channel) => topology.declareDeadLetters(channel))
      await publisher.publishRaw(letter)
    }
  }

  #stop(): void {
    this.#isStopped = true
    clearInterval(this.#checkTimer)
    clearInterval(this.#turnTimer)
    this.#turnTimer = undefined
    this.#leave(this.#arrivals.stop())
  }

  /** Starts over after a standstill that was longer than a heartbeat. */
  #takeTurn(): void {
    const stoodStillMs = performance.now() - this.#turnAt
    this.#turnAt = performance.now()
    if (stoodStillMs < this.#parts.options.heartbeatMs) return
    this.#channel?.acks.flush()
    this.#connection.sessionLost(new Error(`this process stood still for ${Math.round(stoodStillMs)} ms`))
  }

  #leave(messages: readonly AmqpMessage[]): void {
    this.#untouched = [...this.#untouched, ...messages.filter((message) => !isRedelivered(message))]
  }

  async #giveBack(): Promise<void> {
    const channel = this.#channel
    this.#channel = undefined
    channel?.acks.flush()
    const isOpen = channel?.acks.isOpen === true
    channel?.acks.close()
    const notes = isOpen
      ? [
          ...[...this.#held].flatMap((delivery) => delivery.noteOfReturn() ?? []),
          ...this.#untouched.map((message) => ({ message, mark: { attempts: 0, settledHandlers: [] } })),
        ]
      : []
    // Before somebody else gets them.
    await this.#marks.writeAll(notes)
    // Its answer says that the acknowledgments were read; the rest goes back to the queue.
    await Promise.allSettled([channel?.close(), ...this.#housekeeping])
  }

  /** Where it is not the channel that was lost, it must not hold messages beside its successor. */
  #leaveChannel(): void {
    const channel = this.#channel
    this.#channel = undefined
    channel?.acks.close()
    void channel?.close()
  }

  async #consumeFrom(channel: ConsumerChannel): Promise<void> {
    const { prefetchCount, maxInFlight, names } = this.#parts.options
    this.#epoch += 1
    await channel.consume({
      queue: names.queue,
      consumerTag: this.#consumerTag,
      prefetch: Math.min(prefetchCount, maxInFlight),
    })
  }

  async #consumeAgain(channel: ConsumerChannel): Promise<void> {
    try {
      await this.#queue.declare(true)
      await this.#consumeFrom(channel)
    } catch (error) {
      this.#connection.sessionLost(error)
    }
  }

  get #consumerTag(): string {
    return `${this.#parts.options.consumerName.slice(0, 60)}-${this.#epoch}`
  }

  #deliveryOf({ message, unacked, acks }: Arrival, mark: AttemptMark | undefined): RabbitMQDelivery {
    const id = `${this.#consumerTag}/${unacked.tag}`
    const delivery = new RabbitMQDelivery(message, id, unacked, acks, this, mark)
    this.#held.add(delivery)
    return delivery
  }

  /** Runs beside the deliveries; a failure is one of the connection, which repairs itself. */
  #keep(work: Promise<unknown>): void {
    const kept = work
      .catch(() => undefined)
      .finally(() => {
        this.#housekeeping.delete(kept)
      })
    this.#housekeeping.add(kept)
  }
}
