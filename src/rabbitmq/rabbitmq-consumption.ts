import type { ConnectionError } from '../bus/errors.ts'
import type { BusNotice } from '../bus/notices.ts'
import { whenSettled } from '../bus/time.ts'
import type { Consumption, DeadLetterReason, Intake } from '../bus/transport.ts'
import { RabbitMQAcks, type UnackedDelivery } from './rabbitmq-acks.ts'
import { type AttemptMark, RabbitMQAttemptMarks } from './rabbitmq-attempt-marks.ts'
import type { RabbitMQBindings } from './rabbitmq-bindings.ts'
import type { AmqpChannel, AmqpConnection, AmqpMessage } from './rabbitmq-client.ts'
import { type ConnectionSession, onOwnChannel, type RabbitMQConnection } from './rabbitmq-connection.ts'
import { deadLetterOf } from './rabbitmq-dead-letter-wire.ts'
import { type DeliveryKeeper, isRedelivered, RabbitMQDelivery } from './rabbitmq-delivery.ts'
import { isNotFound } from './rabbitmq-errors.ts'
import { registerGroup } from './rabbitmq-groups.ts'
import type { ResolvedRabbitMQOptions } from './rabbitmq-options.ts'
import type { RabbitMQPublisher } from './rabbitmq-publisher.ts'
import { SettledMessages } from './rabbitmq-settled-messages.ts'
import type { RabbitMQTopology } from './rabbitmq-topology.ts'

export interface ConsumptionParts {
  readonly options: ResolvedRabbitMQOptions
  readonly topology: RabbitMQTopology
  readonly bindings: RabbitMQBindings
  readonly publisher: RabbitMQPublisher
  readonly intake: Intake
  /** Makes the connection that the consumption lives on. */
  readonly connect: (session: ConnectionSession) => RabbitMQConnection
  readonly notify: (notice: BusNotice) => void
  /** For what has to publish: on the consumer's connection it would block the acknowledgments too. */
  readonly withPublisherChannel: <T>(work: (channel: AmqpChannel) => Promise<T>) => Promise<T>
}

/** How often it is made sure that the exchange is there and the queue bound to it, in milliseconds: nobody tells. */
const TOPOLOGY_CHECK_MS = 5000

/** How long a consumer waits for its notes to be written before it starts, in milliseconds. */
const WRITE_DOWN_MS = 1000

interface Arrival {
  readonly message: AmqpMessage
  readonly unacked: UnackedDelivery
  readonly acks: RabbitMQAcks
}

/** Consumes from the group's queue, on a connection of its own. */
export class RabbitMQConsumption implements Consumption, ConnectionSession, DeliveryKeeper {
  readonly #parts: ConsumptionParts
  readonly #connection: RabbitMQConnection
  readonly #marks: RabbitMQAttemptMarks
  readonly #settled = new SettledMessages()
  readonly #housekeeping = new Set<Promise<unknown>>()
  /** What is being handled. */
  readonly #begun = new Set<RabbitMQDelivery>()
  /** What has arrived and waits, in order, for room or for its mark. */
  #arrivals: Arrival[] = []
  #isForwarding = false
  #channel: AmqpChannel | undefined
  #acks: RabbitMQAcks | undefined
  #epoch = 0
  #isStopped = false
  #topologyTimer: NodeJS.Timeout | undefined

  constructor(parts: ConsumptionParts) {
    this.#parts = parts
    this.#connection = parts.connect(this)
    const { names } = parts.options
    this.#marks = new RabbitMQAttemptMarks(names.queue, parts.publisher, (work) =>
      this.#connection.withChannel(work),
    )
  }

  /** Resolves when deliveries may flow. */
  async start(): Promise<void> {
    await this.#connection.open()
    this.#topologyTimer = setInterval(() => this.#keep(this.#checkTopology()), TOPOLOGY_CHECK_MS)
    this.#topologyTimer.unref()
  }

  /** Follows a change of the bindings. */
  async updateBindings(): Promise<void> {
    const { bindings, options } = this.#parts
    const isAlone = await this.#connection.withChannel(async (channel) => {
      const { consumerCount } = await channel.checkQueue(options.names.queue)
      await bindings.update(channel, consumerCount <= 1)
      return consumerCount <= 1
    })
    await this.#writeDown(isAlone)
  }

  async open(connection: AmqpConnection): Promise<void> {
    const isFirst = this.#epoch === 0
    this.#epoch += 1
    const wasLost = !isFirst && (await this.#isQueueGone(connection))
    await this.#declare(connection)
    const channel = await connection.createChannel()
    const acks = new RabbitMQAcks(channel)
    let cause: Error | undefined
    channel.on('error', (error) => {
      cause = error
    })
    channel.on('close', () => {
      acks.close()
      if (this.#channel !== channel) return
      this.#channel = undefined
      // If it went with its connection, that is told in the same turn, and is the better news.
      setImmediate(() => this.#connection.sessionLost(cause))
    })
    await this.#consume(channel, acks)
    this.#channel = channel
    this.#acks = acks
    if (wasLost) this.#reportLoss()
  }

  closed(_error: ConnectionError): void {
    const channel = this.#channel
    this.#channel = undefined
    this.#acks?.close()
    // Where it is not the channel that was lost, it must not hold messages beside its successor.
    void channel?.close().catch(() => undefined)
    this.#begun.clear()
    this.#arrivals = []
  }

  async stopFetching(): Promise<void> {
    this.#isStopped = true
    clearInterval(this.#topologyTimer)
    this.#arrivals = []
    // A channel that closes meanwhile brings nothing more either.
    await this.#channel?.cancel(this.#consumerTag).catch(() => undefined)
  }

  async release(signal: AbortSignal): Promise<void> {
    this.#isStopped = true
    clearInterval(this.#topologyTimer)
    const late = Promise.withResolvers<void>()
    signal.addEventListener('abort', () => late.resolve(), { once: true })
    await Promise.race([this.#giveBack(), late.promise])
    await this.#connection.close(signal)
  }

  began(delivery: RabbitMQDelivery): void {
    this.#begun.add(delivery)
  }

  settled(delivery: RabbitMQDelivery): void {
    this.#begun.delete(delivery)
  }

  mark(message: AmqpMessage, mark: AttemptMark): Promise<void> {
    return this.#marks.write(message, mark)
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

  async #giveBack(): Promise<void> {
    const channel = this.#channel
    this.#channel = undefined
    this.#acks?.flush()
    const brokenOff = this.#acks?.isOpen === true ? [...this.#begun] : []
    this.#acks?.close()
    // Before somebody else gets them.
    await Promise.allSettled(brokenOff.map((delivery) => delivery.forgetAttempt()))
    // Its answer says that the acknowledgments were read; the rest goes back to the queue.
    await Promise.allSettled([channel?.close(), ...this.#housekeeping])
  }

  get #consumerTag(): string {
    return `${this.#parts.options.consumerName.slice(0, 60)}-${this.#epoch}`
  }

  async #declare(connection: AmqpConnection): Promise<void> {
    const { topology, bindings } = this.#parts
    const others = await onOwnChannel(connection, async (channel) => {
      const consumers = await topology.declareForConsuming(channel)
      await bindings.start(channel)
      return consumers
    })
    await this.#writeDown(others === 0)
  }

  /** Notes for others and for later, which consuming does not depend on, and waits for in fair weather only. */
  async #writeDown(isAlone: boolean): Promise<void> {
    const { bindings, options, withPublisherChannel } = this.#parts
    const written = withPublisherChannel(async (channel) => {
      await bindings.record(channel, isAlone)
      if (options.enableDlq) await registerGroup(channel, options)
    })
    await whenSettled(
      written.catch(() => undefined),
      WRITE_DOWN_MS,
    )
  }

  async #consume(channel: AmqpChannel, acks: RabbitMQAcks): Promise<void> {
    const { prefetchCount, maxInFlight, names } = this.#parts.options
    await channel.prefetch(Math.min(prefetchCount, maxInFlight))
    const onMessage = (message: AmqpMessage | null) => {
      if (message === null) this.#onCancelled(channel)
      else this.#onMessage(message, acks)
    }
    await channel.consume(names.queue, onMessage, { consumerTag: this.#consumerTag })
  }

  #onMessage(message: AmqpMessage, acks: RabbitMQAcks): void {
    const unacked = acks.add(message.fields.deliveryTag)
    if (this.#isStopped) return
    const { intake } = this.#parts
    if (this.#isForwarding || isRedelivered(message) || intake.room === 0) {
      this.#arrivals.push({ message, unacked, acks })
      if (!this.#isForwarding) this.#keep(this.#forward())
      return
    }
    intake.deliver(this.#deliveryOf({ message, unacked, acks }, undefined))
  }

  /** Delivers what has to wait, in order. */
  async #forward(): Promise<void> {
    const { intake } = this.#parts
    this.#isForwarding = true
    // Whatever arrives meanwhile is added at the end.
    for (let arrival = this.#arrivals.shift(); arrival !== undefined; arrival = this.#arrivals.shift()) {
      if (intake.room === 0) await intake.whenRoom()
      const mark = isRedelivered(arrival.message) ? await this.#readMark(arrival) : undefined
      if (arrival.acks.isOpen && !this.#isStopped) intake.deliver(this.#deliveryOf(arrival, mark))
    }
    this.#isForwarding = false
  }

  async #readMark({ message, acks }: Arrival): Promise<AttemptMark | undefined> {
    try {
      return await this.#marks.read(message)
    } catch (error) {
      // Without its mark it must not be delivered, as it may be the one that kills its process: start over.
      if (acks.isOpen && !this.#isStopped) this.#connection.sessionLost(error)
      acks.close()
      return undefined
    }
  }

  #deliveryOf({ message, unacked, acks }: Arrival, mark: AttemptMark | undefined): RabbitMQDelivery {
    const id = `${this.#consumerTag}/${unacked.tag}`
    return new RabbitMQDelivery(message, id, unacked, acks, this, mark)
  }

  /** The broker ends a consumer when its queue is deleted or moves to another node. */
  #onCancelled(channel: AmqpChannel): void {
    if (this.#isStopped || this.#channel !== channel) return
    this.#keep(this.#consumeAgain(channel))
  }

  async #consumeAgain(channel: AmqpChannel): Promise<void> {
    const acks = this.#acks
    if (acks === undefined) return
    try {
      let wasGone = false
      await this.#connection.withChannel(async (own) => {
        const isThere = await own.checkQueue(this.#parts.options.names.queue).then(
          () => true,
          (error: unknown) => !isNotFound(error),
        )
        wasGone = !isThere
      })
      await this.#connection.withChannel(async (own) => {
        await this.#parts.topology.declareForConsuming(own)
        await this.#parts.bindings.start(own)
      })
      this.#epoch += 1
      await this.#consume(channel, acks)
      if (wasGone) this.#reportLoss()
    } catch (error) {
      this.#connection.sessionLost(error)
    }
  }

  async #isQueueGone(connection: AmqpConnection): Promise<boolean> {
    const { queue } = this.#parts.options.names
    try {
      await onOwnChannel(connection, (channel) => channel.checkQueue(queue))
      return false
    } catch (error) {
      if (isNotFound(error)) return true
      throw error
    }
  }

  #reportLoss(): void {
    const { queue } = this.#parts.options.names
    const detail = `the queue ${queue} was deleted, with the messages in it`
    this.#parts.notify({ type: 'eventsLost', detail, count: undefined })
    this.#parts.notify({ type: 'topologyRestored', what: `queue ${queue}` })
  }

  async #checkTopology(): Promise<void> {
    if (!this.#connection.isOpen) return
    const { topology, bindings, options, notify } = this.#parts
    const { exchange } = options.names
    const isThere = await this.#connection.withChannel((channel) =>
      channel.checkExchange(exchange).then(
        () => true,
        (error: unknown) => !isNotFound(error),
      ),
    )
    await this.#connection.withChannel(async (channel) => {
      if (!isThere) await topology.declareForPublishing(channel)
      await bindings.repair(channel)
    })
    if (!isThere) notify({ type: 'topologyRestored', what: `exchange ${exchange}` })
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
