import { createHash } from 'node:crypto'
import { parseNames } from '../../transport/replay-headers.ts'
import type { AmqpChannel, AmqpMessage } from '../client/client.ts'
import type { WithChannel } from '../client/connection.ts'
import { undefinedIfNotFound } from '../errors.ts'
import type { RabbitMQPublisher } from '../publishing/publisher.ts'

/** What is known of a message's earlier attempts. */
export interface AttemptMark {
  /** Attempts that began. */
  readonly attempts: number
  readonly settledHandlers: readonly string[]
}

/** A message and what to note of it. */
export interface AttemptNote {
  readonly message: AmqpMessage
  readonly mark: AttemptMark
}

/** Marks of messages that nobody settles are dropped after a day. */
const EXPIRES_MS = 86_400_000

/**
 * Notes on the broker which attempt at a message begins, so that it survives a crash: in a queue per message, which
 * exists only for messages that are tried a second time, from then until they are settled. The message itself stays
 * in its place, as a copy with a count would go behind later events of its aggregate; and neither classic queues
 * (which only say `redelivered`) nor quorum queues (whose `x-delivery-count` counts the neighbors of a message that
 * kills its process, and each stop of a consumer) tell how often handling began.
 */
export class RabbitMQAttemptMarks {
  readonly #queue: string
  readonly #publisher: RabbitMQPublisher
  readonly #withChannel: WithChannel

  constructor(queue: string, publisher: RabbitMQPublisher, withChannel: WithChannel) {
    this.#queue = queue
    this.#publisher = publisher
    this.#withChannel = withChannel
  }

  /** The last mark of a message that was delivered before; undefined where the node that holds it is down. */
  async read(message: AmqpMessage): Promise<AttemptMark | undefined> {
    const queue = this.#queueOf(message)
    return this.#unlessDown(async (channel) => {
      const { messageCount } = await declare(channel, queue)
      const found = messageCount > 0 ? await channel.get(queue) : false
      // Closing the channel puts it back too, but some time later: the next look could find none.
      if (found !== false) await channel.recover()
      const mark = found === false ? undefined : parseMark(found)
      // A message without a mark counts as perhaps begun once. One of which a stop gave that back is so again now, as
      // if it came for the first time: otherwise one that kills its process would come for ever.
      if (mark?.attempts === 0) await channel.deleteQueue(queue)
      return mark
    })
  }

  /** Resolves when the mark is safe, or cannot be made because the node that holds the last one is down. */
  async write({ message, mark }: AttemptNote): Promise<void> {
    const queue = this.#queueOf(message)
    if ((await this.#unlessDown((channel) => declare(channel, queue))) === undefined) return
    await this.#publish(queue, mark)
  }

  /** Writes many at once, as a stop has little time. Resolves when each is safe or could not be written. */
  async writeAll(notes: readonly AttemptNote[]): Promise<void> {
    if (notes.length === 0) return
    const marks = notes.map(({ message, mark }) => ({ queue: this.#queueOf(message), mark }))
    try {
      await this.#withChannel((channel) => Promise.all(marks.map(({ queue }) => declare(channel, queue))))
    } catch {
      // One that cannot be declared takes the channel, and the others, with it.
      await Promise.allSettled(notes.map((note) => this.write(note)))
      return
    }
    await Promise.allSettled(marks.map(({ queue, mark }) => this.#publish(queue, mark)))
  }

  async #publish(queue: string, { attempts, settledHandlers }: AttemptMark): Promise<void> {
    await this.#publisher.publishRaw({
      exchange: '',
      routingKey: queue,
      content: Buffer.alloc(0),
      properties: {
        deliveryMode: 2,
        headers: { attempts, settled_handlers: JSON.stringify(settledHandlers) },
      },
    })
  }

  async remove(message: AmqpMessage): Promise<void> {
    await this.#withChannel((channel) => channel.deleteQueue(this.#queueOf(message)))
  }

  /** In a cluster the queue may lie on a node that is down, which the broker calls not found. */
  #unlessDown<T>(work: (channel: AmqpChannel) => Promise<T>): Promise<T | undefined> {
    return undefinedIfNotFound(this.#withChannel(work))
  }

  #queueOf(message: AmqpMessage): string {
    return `${this.#queue}.attempts.${createHash('sha256').update(identityOf(message)).digest('hex').slice(0, 24)}`
  }
}

/** What tells a message from others, over deliveries. */
function identityOf({ properties, content }: AmqpMessage): string | Buffer {
  return properties.messageId ?? content
}

/** Only the last mark stays in the queue. */
function declare(channel: AmqpChannel, queue: string) {
  return channel.assertQueue(queue, {
    durable: true,
    autoDelete: false,
    arguments: { 'x-expires': EXPIRES_MS, 'x-max-length': 1 },
  })
}

function parseMark({ properties }: AmqpMessage): AttemptMark | undefined {
  const { attempts, settled_handlers: settled } = properties.headers ?? {}
  if (typeof attempts !== 'number' || !Number.isSafeInteger(attempts) || attempts < 0) return undefined
  return { attempts, settledHandlers: (typeof settled === 'string' ? parseNames(settled) : undefined) ?? [] }
}
