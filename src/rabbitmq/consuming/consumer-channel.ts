import type { AmqpChannel, AmqpConnection, AmqpMessage } from '../client/client.ts'
import { channelCloser } from '../client/closing.ts'
import { RabbitMQAcks } from './acks.ts'

/** Receives the messages and events of a consumer channel. */
export interface ConsumerChannelObserver {
  arrived(message: AmqpMessage, acks: RabbitMQAcks): void
  /** The broker cancelled the consumer: its queue was deleted, or moved to another node. */
  cancelled(channel: ConsumerChannel): void
  channelClosed(channel: ConsumerChannel, cause: Error | undefined): void
}

/** The parameters of one call of `consume`. */
export interface ConsumeRequest {
  readonly queue: string
  readonly consumerTag: string
  readonly prefetch: number
}

/** A channel that receives messages, with their acknowledgments, until it closes. */
export class ConsumerChannel {
  readonly acks: RabbitMQAcks
  readonly #channel: AmqpChannel
  readonly #observer: ConsumerChannelObserver
  readonly #close: () => Promise<void>
  #consumerTag: string | undefined
  #cause: Error | undefined

  static async open(connection: AmqpConnection, observer: ConsumerChannelObserver): Promise<ConsumerChannel> {
    return new ConsumerChannel(await connection.createChannel(), observer)
  }

  private constructor(channel: AmqpChannel, observer: ConsumerChannelObserver) {
    this.#channel = channel
    this.#observer = observer
    this.acks = new RabbitMQAcks(channel)
    this.#close = channelCloser(channel)
    channel.on('error', (error) => {
      this.#cause = error
    })
    channel.on('close', () => {
      this.acks.close()
      observer.channelClosed(this, this.#cause)
    })
  }

  /** Starts a consumer. Called again if the broker cancelled the last one. */
  async consume({ queue, consumerTag, prefetch }: ConsumeRequest): Promise<void> {
    await this.#channel.prefetch(prefetch)
    this.#consumerTag = consumerTag
    const onMessage = (message: AmqpMessage | null) => {
      if (message === null) this.#observer.cancelled(this)
      else this.#observer.arrived(message, this.acks)
    }
    await this.#channel.consume(queue, onMessage, { consumerTag })
    // The broker may close the channel right after its answer, before the caller of `consume` continues.
    if (!this.acks.isOpen) throw this.#cause ?? new Error('channel closed at once')
  }

  /** Resolves when no further message will arrive. */
  async stopConsuming(): Promise<void> {
    if (this.#consumerTag === undefined) return
    // No message arrives on a channel that closes meanwhile either.
    await this.#channel.cancel(this.#consumerTag).catch(() => undefined)
  }

  /** Returns unacknowledged messages to the queue. Resolves when the broker has read the acknowledgments sent before. */
  close(): Promise<void> {
    return this.#close()
  }
}
