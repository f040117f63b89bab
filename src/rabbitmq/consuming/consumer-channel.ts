import type { AmqpChannel, AmqpConnection, AmqpMessage } from '../client/client.ts'
import { channelCloser } from '../client/closing.ts'
import { RabbitMQAcks } from './acks.ts'

/** Who gets what a channel brings. */
export interface ConsumerChannelObserver {
  arrived(message: AmqpMessage, acks: RabbitMQAcks): void
  /** The broker ended the consumer: its queue was deleted, or moved to another node. */
  cancelled(channel: ConsumerChannel): void
  channelClosed(channel: ConsumerChannel, cause: Error | undefined): void
}

/** What one call of `consume` asks for. */
export interface ConsumeRequest {
  readonly queue: string
  readonly consumerTag: string
  readonly prefetch: number
}

/** A channel that messages come over, with their acknowledgments, until it closes. */
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

  /** Begins to consume; once more where the broker has ended it. */
  async consume({ queue, consumerTag, prefetch }: ConsumeRequest): Promise<void> {
    await this.#channel.prefetch(prefetch)
    this.#consumerTag = consumerTag
    const onMessage = (message: AmqpMessage | null) => {
      if (message === null) this.#observer.cancelled(this)
      else this.#observer.arrived(message, this.acks)
    }
    await this.#channel.consume(queue, onMessage, { consumerTag })
    // What the broker said right after its answer was heard before whoever waited for the answer went on.
    if (!this.acks.isOpen) throw this.#cause ?? new Error('the channel was closed at once')
  }

  /** Resolves when nothing more comes. */
  async stopConsuming(): Promise<void> {
    if (this.#consumerTag === undefined) return
    // A channel that closes meanwhile brings nothing more either.
    await this.#channel.cancel(this.#consumerTag).catch(() => undefined)
  }

  /** Returns unacknowledged messages to the queue. Resolves when the acknowledgments sent before were read. */
  close(): Promise<void> {
    return this.#close()
  }
}
