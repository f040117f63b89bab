import type { RabbitMQExchangeType, ResolvedRabbitMQOptions } from '../options.ts'
import type { AmqpChannel, AmqpQueueOptions, AmqpTable } from './client.ts'
import { partitionQueueOf, seatQueueOf } from './names.ts'

/** The header by which the exchange of a partitioned group chooses the partition. All publishers of events write it. */
const HASH_HEADER = 'aggregate_id'
/** How long the broker keeps the seat of a worker that nobody takes or looks at, in milliseconds. */
const SEAT_EXPIRES_MS = 600_000

/** How long the queues of an instance that broadcasts outlive its last connection, in milliseconds. */
export const INSTANCE_EXPIRES_MS = 30_000

/** Size of a segment that is not configured, in bytes. The broker removes whole segments. */
const SEGMENT_BYTES = 500_000_000
const MIN_SEGMENT_BYTES = 1_000_000

/** Segments that are small enough for the limit. */
function segmentsOf(maxBytes: number): { readonly 'x-stream-max-segment-size-bytes'?: number } {
  const wanted = Math.max(MIN_SEGMENT_BYTES, Math.floor(maxBytes / 4))
  return wanted >= SEGMENT_BYTES ? {} : { 'x-stream-max-segment-size-bytes': wanted }
}

/** The binding with which a queue gets every event; undefined for a direct exchange, which has none. */
export function bindingToAll(
  type: RabbitMQExchangeType,
): { readonly key: string; readonly match: AmqpTable } | undefined {
  if (type === 'direct') return undefined
  return { key: type === 'topic' ? '#' : '', match: {} }
}

/**
 * Declares exchanges and queues with eventsource-py's names and arguments, so that both libraries can share them. In
 * addition it names the type of each queue: without one, a queue gets the default type of its virtual host, which may be
 * quorum. For a broker whose default is classic, a queue without a type and a classic one are equivalent.
 */
export class RabbitMQTopology {
  readonly #options: ResolvedRabbitMQOptions

  constructor(options: ResolvedRabbitMQOptions) {
    this.#options = options
  }

  /** Declares only the exchange, because a bus that only publishes needs no queue. */
  async declareForPublishing(channel: AmqpChannel): Promise<void> {
    const { names, exchangeType, durable, autoDelete } = this.#options
    await channel.assertExchange(names.exchange, exchangeType, { durable, autoDelete })
    if (this.#options.journal) await this.#declareJournal(channel)
  }

  /** A stream queue keeps what its consumers have read. */
  async #declareJournal(channel: AmqpChannel): Promise<void> {
    const { names, exchangeType, journalMaxAgeMs: ageMs, journalMaxBytes: bytes } = this.#options
    await channel.assertQueue(names.journal, {
      durable: true,
      autoDelete: false,
      arguments: {
        'x-queue-type': 'stream',
        ...(ageMs === undefined ? {} : { 'x-max-age': `${Math.ceil(ageMs / 1000)}s` }),
        ...(bytes === undefined ? {} : { 'x-max-length-bytes': bytes, ...segmentsOf(bytes) }),
      },
    })
    const binding = bindingToAll(exchangeType)
    if (binding !== undefined)
      await channel.bindQueue(names.journal, names.exchange, binding.key, binding.match)
  }

  /** The exchanges through which events reach the group. */
  get exchanges(): readonly string[] {
    const { names, isPartitioned } = this.#options
    return isPartitioned ? [names.exchange, names.partitionExchange] : [names.exchange]
  }

  /** The queues that the group consumes from. */
  get queues(): readonly string[] {
    const { names, isPartitioned, partitions } = this.#options
    if (!isPartitioned) return [names.queue]
    return Array.from({ length: partitions }, (_, partition) => partitionQueueOf(names, partition))
  }

  /** The queues of the group that the bus declares for itself, and their options. */
  get declared(): readonly (readonly [queue: string, options: AmqpQueueOptions])[] {
    const { names, isPartitioned } = this.#options
    const own = this.queues.map((queue) => [queue, this.#queueOptions()] as const)
    const marker = [names.queue, this.#markerOptions()] as const
    const letters = [names.deadLetterQueue, this.#deadLetterOptions()] as const
    return isPartitioned ? [marker, ...own, letters] : [...own, letters]
  }

  /** Declares the exchange and the group's queues. @returns how many consumers the group has. */
  async declareForConsuming(channel: AmqpChannel): Promise<number> {
    await this.declareForPublishing(channel)
    if (this.#options.isPartitioned) await this.#declarePartitions(channel)
    else await channel.assertQueue(this.#options.names.queue, this.#queueOptions())
    return this.countConsumers(channel)
  }

  /** How many consumers the group has. */
  async countConsumers(channel: AmqpChannel): Promise<number> {
    const { names, isPartitioned } = this.#options
    if (isPartitioned) return (await this.takenSeats(channel)).length
    const { consumerCount } = await channel.checkQueue(names.queue)
    return consumerCount
  }

  /**
   * The numbers of the seats that have a consumer. Declares the seats, of the type of the group's queues: the node of a
   * classic queue may be down while quorum queues work.
   */
  async takenSeats(channel: AmqpChannel): Promise<readonly number[]> {
    const { names, partitions, queueType } = this.#options
    const seats = await Promise.all(
      Array.from({ length: partitions }, (_, seat) =>
        channel.assertQueue(seatQueueOf(names, seat), {
          durable: true,
          autoDelete: false,
          arguments: { 'x-queue-type': queueType, 'x-expires': SEAT_EXPIRES_MS },
        }),
      ),
    )
    return seats.flatMap(({ consumerCount }, seat) => (consumerCount > 0 ? [seat] : []))
  }

  /**
   * Declares an exchange that distributes events to the queues of the partitions by the hash of their aggregate. The
   * queues are bound one after the other in ascending order, by any consumer: their order decides which aggregates a
   * queue gets. Only after that may the exchange receive events.
   */
  async #declarePartitions(channel: AmqpChannel): Promise<void> {
    const { names, durable } = this.#options
    await channel.assertQueue(names.queue, this.#markerOptions())
    await channel.assertExchange(names.partitionExchange, 'x-consistent-hash', {
      durable,
      autoDelete: false,
      arguments: { 'hash-header': HASH_HEADER },
    })
    for (const queue of this.queues) {
      await channel.assertQueue(queue, this.#queueOptions())
      await channel.bindQueue(queue, names.partitionExchange, '1')
    }
  }

  /**
   * Binds the queues behind a recreated one again, one after the other. The exchange then has them in ascending order as
   * before, which a restart of the broker would not change, and gives each aggregate to the same queue as before.
   */
  async restoreOrder(channel: AmqpChannel, recreated: string): Promise<void> {
    const { partitionExchange } = this.#options.names
    for (const queue of this.queues.slice(this.queues.indexOf(recreated) + 1)) {
      await channel.unbindQueue(queue, partitionExchange, '1')
      await channel.bindQueue(queue, partitionExchange, '1')
    }
  }

  /**
   * Declares the dead letter exchange and queue. The queue is always classic: reading a dead letter takes and returns it,
   * which counts as a delivery, and a quorum queue of RabbitMQ 4 drops a message after 20 deliveries.
   */
  async declareDeadLetters(channel: AmqpChannel): Promise<void> {
    const { names, durable } = this.#options
    const { deadLetterExchange, deadLetterQueue, queue } = names
    await channel.assertExchange(deadLetterExchange, 'direct', { durable, autoDelete: false })
    await channel.assertQueue(deadLetterQueue, this.#deadLetterOptions())
    await channel.bindQueue(deadLetterQueue, deadLetterExchange, queue)
  }

  #deadLetterOptions(): AmqpQueueOptions {
    const { durable, dlqMessageTtlMs, dlqMaxLength } = this.#options
    return {
      durable,
      autoDelete: false,
      arguments: {
        'x-queue-type': 'classic',
        ...(dlqMessageTtlMs === undefined ? {} : { 'x-message-ttl': dlqMessageTtlMs }),
        ...(dlqMaxLength === undefined ? {} : { 'x-max-length': dlqMaxLength }),
      },
    }
  }

  /**
   * The queue with the group's name holds no messages if the group is partitioned. The broker refuses to declare it with
   * other arguments, so all consumers of the group agree on the number of partitions. A message that another client
   * puts into it, such as a replay of eventsource-py, expires at once and goes to its partition.
   */
  #markerOptions(): AmqpQueueOptions {
    const { names, durable, partitions, queueType } = this.#options
    return {
      durable,
      autoDelete: false,
      arguments: {
        'x-queue-type': queueType,
        'x-max-length': partitions,
        'x-message-ttl': 0,
        'x-dead-letter-exchange': names.partitionExchange,
      },
    }
  }

  #queueOptions(): AmqpQueueOptions {
    const { names, durable, autoDelete, queueType, singleActiveConsumer, broadcast } = this.#options
    if (broadcast) {
      const expiring = { 'x-queue-type': 'classic', 'x-expires': INSTANCE_EXPIRES_MS }
      return { durable, autoDelete: false, arguments: expiring }
    }
    return {
      durable,
      autoDelete,
      // These do not depend on enableDlq, so that it can be changed on an existing queue.
      arguments: {
        'x-queue-type': queueType,
        ...(singleActiveConsumer ? { 'x-single-active-consumer': true } : {}),
        'x-dead-letter-exchange': names.deadLetterExchange,
        'x-dead-letter-routing-key': names.queue,
      },
    }
  }
}
