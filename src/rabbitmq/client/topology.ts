import type { ResolvedRabbitMQOptions } from '../options.ts'
import type { AmqpChannel, AmqpQueueOptions } from './client.ts'

/** How long the queues of an instance that broadcasts outlive its last connection, in milliseconds. */
export const INSTANCE_EXPIRES_MS = 30_000

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
  }

  /** Declares the exchange and the group's queue. @returns how many consumers the queue has. */
  async declareForConsuming(channel: AmqpChannel): Promise<number> {
    await this.declareForPublishing(channel)
    const { consumerCount } = await channel.assertQueue(this.#options.names.queue, this.#queueOptions())
    return consumerCount
  }

  /**
   * Declares the dead letter exchange and queue. The queue is always classic: reading a dead letter takes and returns it,
   * which counts as a delivery, and a quorum queue of RabbitMQ 4 drops a message after 20 deliveries.
   */
  async declareDeadLetters(channel: AmqpChannel): Promise<void> {
    const { names, durable, dlqMessageTtlMs, dlqMaxLength } = this.#options
    const { deadLetterExchange, deadLetterQueue, queue } = names
    await channel.assertExchange(deadLetterExchange, 'direct', { durable, autoDelete: false })
    await channel.assertQueue(deadLetterQueue, {
      durable,
      autoDelete: false,
      arguments: {
        'x-queue-type': 'classic',
        ...(dlqMessageTtlMs === undefined ? {} : { 'x-message-ttl': dlqMessageTtlMs }),
        ...(dlqMaxLength === undefined ? {} : { 'x-max-length': dlqMaxLength }),
      },
    })
    await channel.bindQueue(deadLetterQueue, deadLetterExchange, queue)
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
