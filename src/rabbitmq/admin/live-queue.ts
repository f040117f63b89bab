import { randomUUID } from 'node:crypto'
import { toError } from '../../errors.ts'
import type { MessageScan, ScannedMessage } from '../../transport/admin.ts'
import { HistoryUnavailableError } from '../../transport/errors.ts'
import type { AmqpChannel, AmqpMessage } from '../client/client.ts'
import type { WithChannel } from '../client/connection.ts'
import { bindingToAll } from '../client/topology.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import { toIncoming } from '../wire/message.ts'

/** Messages that the queue holds for a slow reader. Beyond it, the broker drops the oldest, and blocks nobody. */
const MAX_LENGTH = 10_000
/** Messages that are in flight. */
const PREFETCH = 500
/** How long the queue outlives its channel, in milliseconds. */
const EXPIRES_MS = 10_000

/** Gets a copy of every event that is published, through a queue that ends with the connection. */
export class RabbitMQLiveQueue {
  readonly #options: ResolvedRabbitMQOptions
  readonly #withLongChannel: WithChannel

  constructor(options: ResolvedRabbitMQOptions, withLongChannel: WithChannel) {
    this.#options = options
    this.#withLongChannel = withLongChannel
  }

  async follow(signal: AbortSignal): Promise<MessageScan> {
    const ready = Promise.withResolvers<void>()
    const feed = new Feed()
    const onAbort = () => feed.end(undefined)
    signal.addEventListener('abort', onAbort, { once: true })
    const reading = this.#withLongChannel((channel) => this.#read(channel, feed, ready.resolve))
    reading.then(
      () => feed.end(undefined),
      (thrown: unknown) => {
        feed.end(toError(thrown))
        ready.reject(thrown)
      },
    )
    if (signal.aborted) onAbort()
    await ready.promise
    return { total: undefined, pages: feed.pages() }
  }

  async #read(channel: AmqpChannel, feed: Feed, onReady: () => void): Promise<void> {
    const { names, exchangeType } = this.#options
    const binding = bindingToAll(exchangeType)
    if (binding === undefined) {
      throw new HistoryUnavailableError(
        `The exchange ${names.exchange} is a direct exchange, which passes an event only to queues bound to its type.`,
      )
    }
    const queue = `${names.queue}.tail.${randomUUID()}`
    await channel.assertQueue(queue, {
      durable: false,
      autoDelete: true,
      exclusive: true,
      arguments: { 'x-queue-type': 'classic', 'x-max-length': MAX_LENGTH, 'x-expires': EXPIRES_MS },
    })
    await channel.bindQueue(queue, names.exchange, binding.key, binding.match)
    await channel.prefetch(PREFETCH)
    await channel.consume(queue, (message) => {
      if (message === null) feed.end(undefined)
      else feed.add(message, () => channel.ack(message))
    })
    channel.on('close', () => feed.end(new Error('the channel was closed')))
    onReady()
    await feed.ended
    await channel.deleteQueue(queue).catch(() => undefined)
  }
}

/** Passes messages on at the pace of the reader. */
class Feed {
  readonly #messages: { readonly message: AmqpMessage; readonly ack: () => void }[] = []
  readonly #end = Promise.withResolvers<void>()
  #wake = Promise.withResolvers<void>()
  #isOver = false
  #error: Error | undefined
  #count = 0

  /** Resolves when no further message is wanted. */
  get ended(): Promise<void> {
    return this.#end.promise
  }

  add(message: AmqpMessage, ack: () => void): void {
    this.#messages.push({ message, ack })
    this.#wake.resolve()
  }

  end(error: Error | undefined): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#error = error
    this.#end.resolve()
    this.#wake.resolve()
  }

  async *pages(): AsyncGenerator<readonly ScannedMessage[]> {
    try {
      while (!this.#isOver || this.#messages.length > 0) {
        if (this.#messages.length === 0) await this.#wake.promise
        this.#wake = Promise.withResolvers()
        const page = this.#messages.splice(0)
        if (page.length > 0) yield page.map(({ message }) => this.#scanned(message))
        for (const { ack } of page) if (!this.#isOver) ack()
      }
      if (this.#error !== undefined) throw this.#error
    } finally {
      this.end(undefined)
    }
  }

  #scanned(message: AmqpMessage): ScannedMessage {
    this.#count += 1
    const position = String(this.#count)
    return { message: toIncoming(message, position), position, partition: undefined, storedAt: new Date() }
  }
}
