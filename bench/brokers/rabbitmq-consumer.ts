import { type Channel, type ConfirmChannel, type ConsumeMessage, connect } from 'amqplib'
import type { OrderHandler } from '../broker-bench.ts'
import type { Order } from '../order.ts'
import { Lanes } from './lanes.ts'

interface RawRabbitOptions {
  readonly rabbitmqUrl: string
  /** Publishes the dead letters. */
  readonly publisher: ConfirmChannel
  readonly exchange: string
  readonly queue: string
  readonly handlers: readonly OrderHandler[]
  readonly lanes: number | undefined
  readonly prefetch: number
}

/** Parses each message on arrival and acknowledges the finished ones. */
export async function consumeRaw(options: RawRabbitOptions): Promise<AsyncDisposable> {
  const { rabbitmqUrl, publisher, exchange, queue, handlers, lanes: width, prefetch } = options
  const deadLetters = `${queue}.dlq`
  const connection = await connect(rabbitmqUrl, { noDelay: true })
  const channel = await connection.createChannel()
  await declare(channel, exchange, queue)
  await channel.prefetch(prefetch)
  const acks = new Acks(channel)
  const lanes = new Lanes(handlers, width)
  await channel.consume(queue, (message) => {
    if (message === null) return
    const event = JSON.parse(message.content.toString()) as Order & { readonly aggregate_id: string }
    acks.arrived()
    lanes.run(event.aggregate_id, event, (error) => {
      if (error === undefined) acks.done(message)
      else deadLetter(publisher, deadLetters, message, () => acks.done(message))
    })
  })
  return {
    async [Symbol.asyncDispose]() {
      acks.stop()
      await connection.close()
    },
  }
}

/** Declares the topology, as a program does at each start: a broker may have lost it. */
async function declare(channel: Channel, exchange: string, queue: string): Promise<void> {
  await channel.assertExchange(exchange, 'topic', { durable: true })
  await channel.assertExchange(`${exchange}_dlq`, 'direct', { durable: true })
  await channel.assertQueue(queue, {
    durable: true,
    arguments: { 'x-dead-letter-exchange': `${exchange}_dlq`, 'x-dead-letter-routing-key': queue },
  })
  await channel.bindQueue(queue, exchange, '#')
  await channel.assertQueue(`${queue}.dlq`, { durable: true })
  await channel.bindQueue(`${queue}.dlq`, `${exchange}_dlq`, queue)
}

/** Publishes the unchanged original, persistent and confirmed, before the acknowledgment. */
function deadLetter(
  publisher: ConfirmChannel,
  queue: string,
  message: ConsumeMessage,
  onDone: () => void,
): void {
  const { contentType, contentEncoding, messageId, timestamp, headers } = message.properties
  const properties = { contentType, contentEncoding, messageId, timestamp, headers, persistent: true }
  // amqplib types the error as any.
  publisher.sendToQueue(queue, message.content, properties, (error: Error | null) => {
    if (error !== null) throw error
    onDone()
  })
}

/** Sends one acknowledgment per turn for all previous messages if none is unfinished, otherwise one per message. */
class Acks {
  readonly #channel: Channel
  #open = 0
  #isStopped = false
  #last: ConsumeMessage | undefined

  constructor(channel: Channel) {
    this.#channel = channel
  }

  arrived(): void {
    this.#open += 1
  }

  /** Unacknowledged messages would be delivered again. */
  stop(): void {
    this.#flush()
    this.#isStopped = true
  }

  done(message: ConsumeMessage): void {
    if (this.#isStopped) return
    this.#open -= 1
    if (this.#open > 0) {
      this.#flush()
      this.#channel.ack(message)
      return
    }
    if (this.#last === undefined) setImmediate(() => this.#flush())
    this.#last = message
  }

  #flush(): void {
    if (this.#last === undefined) return
    this.#channel.ack(this.#last, true)
    this.#last = undefined
  }
}
