import { IdleCounter } from '../../kit/idle-counter.ts'
import { settledUntil } from '../../kit/time.ts'
import type { ConnectionError } from '../../transport/errors.ts'
import type { AmqpConnection } from '../client/client.ts'
import type { ChannelOwner, RabbitMQConnection, WithChannel } from '../client/connection.ts'
import { partitionQueueOf } from '../client/names.ts'
import { storeDeadLetter } from '../dead-letters/store-dead-letter.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import { MARK_EXPIRES_MS, RabbitMQAttemptMarks } from './attempt-marks.ts'
import type { ConsumptionParts, GroupConsumption } from './group-consumption.ts'
import { RabbitMQGroupQueue } from './group-queue.ts'
import { PartitionConsumer, type PartitionConsumerParts } from './partition-consumer.ts'
import { RabbitMQSeats } from './seats.ts'
import { SettledMessages } from './settled-messages.ts'
import { type PartitionRoles, type Seats, shareOut } from './shares.ts'
import { StandstillWatch } from './standstill-watch.ts'

/** Interval between two checks of the exchanges and the bindings, in milliseconds. */
const CHECK_MS = 5000
/** Interval between two looks at the workers of the group, in milliseconds, and for each partition in addition. */
const LOOK_MS = 400
const LOOK_MS_PER_PARTITION = 10
/** The size that a message is expected to have at most: AMQP cannot limit a prefetch by bytes. */
const EXPECTED_BYTES = 1_048_576

/**
 * Consumes from the queues of a group's partitions, on one connection. For each partition, one worker consumes and
 * another one stands by. The broker passes the queue to the one that stands by as soon as the other's channel closes. If
 * workers come or go, each computes the new shares, and gives up what is no longer its own.
 */
export class PartitionedConsumption implements GroupConsumption, ChannelOwner {
  readonly #parts: ConsumptionParts
  readonly #connection: RabbitMQConnection
  readonly #queue: RabbitMQGroupQueue
  readonly #seats: RabbitMQSeats
  readonly #watch: StandstillWatch
  readonly #consumerParts: PartitionConsumerParts
  readonly #housekeeping = new IdleCounter()
  readonly #consumers = new Map<number, PartitionConsumer>()
  /** The consumers that have only stood by so far. */
  readonly #standbys = new WeakSet<PartitionConsumer>()
  /** The consumers whose queues were deleted, while these are declared again. */
  readonly #consumingAgain = new Set<PartitionConsumer>()
  #amqp: AmqpConnection | undefined
  #known: Seats = []
  #roles: readonly PartitionRoles[] = []
  /** Counts the consumers, so that each gets a tag of its own. */
  #consumerNumber = 0
  #isBalancing = false
  #isStopped = false
  readonly #timers: NodeJS.Timeout[] = []

  constructor(parts: ConsumptionParts) {
    const { options, topology, publisher, intake } = parts
    this.#parts = parts
    this.#connection = parts.connect(this)
    this.#queue = new RabbitMQGroupQueue({ ...parts, connection: this.#connection })
    this.#seats = new RabbitMQSeats(options, topology)
    this.#watch = new StandstillWatch(options.heartbeatMs, (elapsedMs) => this.#onStandstill(elapsedMs))
    const withChannel: WithChannel = (work) => this.#connection.withChannel(work)
    this.#consumerParts = {
      replayExchange: options.names.partitionExchange,
      prefetch: prefetchOf(options),
      intake,
      marks: new RabbitMQAttemptMarks({
        queue: options.names.queue,
        expiresMs: MARK_EXPIRES_MS,
        ...{ publisher, withChannel },
      }),
      settled: new SettledMessages(),
      mayStart: () => this.#mayStart(),
      storeDeadLetter: (message, ...about) => storeDeadLetter({ ...parts, withChannel }, message, ...about),
      postpone: (message, wait) => parts.waiting.add(message, wait),
      linesFor: (consumer) => parts.waiting.linesFor(consumer),
      failed: (cause) => this.#connection.reopen(cause),
      cancelled: (consumer) => this.#runInBackground(this.#consumeAgain(consumer)),
      runInBackground: (work) => this.#runInBackground(work),
    }
  }

  async start(): Promise<void> {
    const { partitions } = this.#parts.options
    this.#watch.start()
    await this.#connection.open()
    try {
      await this.updateBindings()
    } catch (error) {
      // If the connection is lost by now, the next one opens with all bindings.
      if (this.#connection.isOpen) throw error
    }
    this.#every(CHECK_MS, () => this.#check())
    this.#every(LOOK_MS + LOOK_MS_PER_PARTITION * partitions, () => this.#look())
  }

  updateBindings(): Promise<void> {
    return this.#queue.updateBindings()
  }

  async open(connection: AmqpConnection): Promise<void> {
    await this.#queue.declare(this.#consumerNumber > 0)
    await this.#seats.open(connection)
    this.#amqp = connection
    await this.#balance()
    // Bindings that changed meanwhile are applied once the connection counts as open.
    setImmediate(() => this.#runInBackground(this.updateBindings()))
  }

  closed(_error: ConnectionError): void {
    this.#amqp = undefined
    this.#seats.close()
    for (const consumer of this.#consumers.values()) consumer.abandon()
    this.#consumers.clear()
  }

  get limitedPrefetch(): number | undefined {
    const { prefetch } = this.#consumerParts
    const { prefetchCount, partitions } = this.#parts.options
    // All partitions together get fewer messages than one consumer without partitions would.
    return prefetch * partitions < prefetchCount ? prefetch : undefined
  }

  get isFlowing(): boolean {
    return this.#connection.isOpen
  }

  get idleReason(): string | undefined {
    if (this.#seats.own !== undefined || !this.isFlowing) return undefined
    return `each of the ${this.#parts.options.partitions} partitions has a consumer in another process`
  }

  /** Other workers get each partition as soon as its last handler has ended. */
  async stopFetching(): Promise<void> {
    this.#isStopped = true
    for (const timer of this.#timers) clearInterval(timer)
    this.#watch.stop()
    for (const consumer of this.#consumers.values()) this.#runInBackground(consumer.leave())
    this.#runInBackground(this.#seats.leave())
  }

  async release(signal: AbortSignal): Promise<void> {
    await this.stopFetching()
    const returned = [...this.#consumers.values()].map((consumer) => consumer.giveBack())
    await settledUntil(Promise.all(returned), signal)
    await settledUntil(this.#housekeeping.whenIdle(), signal)
    await this.#connection.close(signal)
  }

  async #look(): Promise<void> {
    if (this.#isBalancing || !this.#connection.isOpen) return
    try {
      await this.#balance()
    } catch (error) {
      if (!this.#isStopped) this.#connection.reopen(error)
    }
  }

  /** Looks for the workers of the group, then takes and gives up partitions until it has its share. */
  async #balance(): Promise<void> {
    this.#isBalancing = true
    try {
      const seats = await this.#seats.look()
      const isStable = String(seats) === String(this.#known)
      if (!isStable) {
        this.#known = seats
        this.#roles = shareOut(this.#parts.options.partitions, seats)
      }
      await Promise.all(this.#roles.map((roles, partition) => this.#adjust(partition, roles, isStable)))
    } finally {
      this.#isBalancing = false
    }
  }

  /** @param isStable - true if the workers are the same as at the last look, so that the owners have taken their shares. */
  async #adjust(partition: number, { owner, standby }: PartitionRoles, isStable: boolean): Promise<void> {
    const consumer = this.#consumers.get(partition)
    const { own } = this.#seats
    if (consumer === undefined) {
      const isWanted = own !== undefined && (own === owner || (own === standby && isStable))
      if (isWanted && !this.#isStopped) await this.#join(partition, own === owner)
      return
    }
    if (consumer.isLeaving) return
    if (own === owner) {
      this.#standbys.delete(consumer)
      return
    }
    // One that stands by receives messages only if the owner is gone or came later.
    const standsBy = own === standby && this.#standbys.has(consumer) && !consumer.hasReceived
    if (!standsBy) this.#runInBackground(this.#leave(consumer))
  }

  async #join(partition: number, isOwner: boolean): Promise<void> {
    const connection = this.#amqp
    if (connection === undefined) return
    const { options } = this.#parts
    this.#consumerNumber += 1
    const consumer = new PartitionConsumer(
      {
        partition,
        queue: partitionQueueOf(options.names, partition),
        consumerTag: `${options.consumerName.slice(0, 60)}-${this.#consumerNumber}`,
      },
      this.#consumerParts,
    )
    this.#consumers.set(partition, consumer)
    if (!isOwner) this.#standbys.add(consumer)
    await consumer.start(connection)
  }

  async #leave(consumer: PartitionConsumer): Promise<void> {
    await consumer.leave()
    if (this.#consumers.get(consumer.partition) === consumer) this.#consumers.delete(consumer.partition)
  }

  /** Restores what is gone on the broker. It does not always cancel the consumer of a queue that is deleted. */
  async #check(): Promise<void> {
    const consumers = [...this.#consumers.values()]
    const missing = await this.#queue.check()
    const lost = consumers.find(
      (consumer) => missing.includes(consumer.queue) && this.#consumers.get(consumer.partition) === consumer,
    )
    // The tag of the lost consumer is still in use on its channel.
    if (lost !== undefined && this.#consumingAgain.size === 0 && !this.#isStopped) {
      this.#connection.reopen(new Error(`the queue ${lost.queue} is gone`))
    }
  }

  async #consumeAgain(consumer: PartitionConsumer): Promise<void> {
    this.#consumingAgain.add(consumer)
    try {
      await this.#queue.declareAgain()
      await consumer.consume()
      await consumer.lines?.groupQueueLost()
    } catch (error) {
      if (!consumer.isLeaving) this.#connection.reopen(error)
    } finally {
      this.#consumingAgain.delete(consumer)
    }
  }

  #mayStart(): boolean {
    // While the connection is being opened, it cannot be reopened.
    if (!this.#watch.isStandstill || !this.#connection.isOpen) return true
    this.#watch.check()
    return false
  }

  #onStandstill(elapsedMs: number): void {
    this.#connection.reopen(new Error(`this process did not run for ${Math.round(elapsedMs)} ms`))
  }

  #every(intervalMs: number, work: () => Promise<void>): void {
    if (this.#isStopped) return
    this.#timers.push(setInterval(() => this.#runInBackground(work()), intervalMs).unref())
  }

  /** Runs work that no caller awaits. It fails only with the connection, which is restored on its own. */
  #runInBackground(work: Promise<unknown>): void {
    this.#housekeeping.track(work).catch(() => undefined)
  }
}

/** The prefetch for each partition. All messages of all partitions together stay within the limits of the bus. */
function prefetchOf(options: ResolvedRabbitMQOptions): number {
  const { prefetchCount, maxInFlight, maxInFlightBytes, partitions } = options
  const room = Math.min(maxInFlight, maxInFlightBytes / EXPECTED_BYTES) / partitions
  return Math.max(1, Math.min(prefetchCount, Math.floor(room)))
}
