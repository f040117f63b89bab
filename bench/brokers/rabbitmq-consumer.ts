import { type Channel, type ConfirmChannel, type ConsumeMessage, connect } from 'amqplib'
import type { OrderHandler } from '../broker-bench.ts'
import type { Order } from '../order.ts'
import { Lanes } from './lanes.ts'

interface RawRabbitOptions {
  readonly rabbitmqUrl: string
  /** Publishes the dead letters. */
  readonly publisher: ConfirmChannel
  readonly queue: string
  readonly handlers: readonly OrderHandler[]
  readonly lanes: number | undefined
  readonly prefetch: number
}

/** Parses each message on arrival and acknowledges the finished ones. */
export async function consumeRaw(options: RawRabbitOptions): Promise<AsyncDisposable> {
  const { rabbitmqUrl, publisher, queue, handlers, lanes: width, prefetch } = options
  const deadLetters = `${queue}.dlq`
  const connection = await connect(rabbitmqUrl, { noDelay: true })
  const channel = await connection.createChannel()
  await channel.assertQueue(deadLetters, { durable: true })
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
