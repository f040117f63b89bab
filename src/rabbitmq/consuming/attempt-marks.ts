import { createHash } from 'node:crypto'
import { parseNames, REPLAY_HANDLERS } from '../../transport/replay-headers.ts'
import type { AmqpChannel, AmqpMessage } from '../client/client.ts'
import type { WithChannel } from '../client/connection.ts'
import { createdQueues } from '../client/created-queues.ts'
import { unlessDown } from '../client/unless-down.ts'
import type { RabbitMQPublisher } from '../publishing/publisher.ts'

/** The record of a message's earlier attempts. */
export interface AttemptMark {
  /** Attempts that were started. */
  readonly attempts: number
  readonly settledHandlers: readonly string[]
}

/** A message and the mark to write for it. */
export interface MarkedMessage {
  readonly message: AmqpMessage
  readonly mark: AttemptMark
}

interface QueuedMark {
  readonly queue: string
  readonly mark: AttemptMark
}

/** The broker drops the mark of a message that is not settled within a day. */
export const MARK_EXPIRES_MS = 86_400_000

export interface AttemptMarksParts {
  readonly queue: string
  readonly expiresMs: number
  readonly publisher: RabbitMQPublisher
  readonly withChannel: WithChannel
}

/**
 * Stores on the broker how many attempts at a message were started, so that the count survives a crash. Each mark is in a
 * queue of its own, which exists from the second attempt at the message until it is settled.
 *
 * The message itself stays in place: a republished copy with a count would follow later events of its aggregate. The
 * broker's own counts do not help. Classic queues only set `redelivered`. The `x-delivery-count` of quorum queues also
 * counts each stop of a consumer, and the neighbors of a message that kills its process.
 */
export class RabbitMQAttemptMarks {
  readonly #queue: string
  readonly #expiresMs: number
  readonly #publisher: RabbitMQPublisher
  readonly #withChannel: WithChannel

  constructor({ queue, expiresMs, publisher, withChannel }: AttemptMarksParts) {
    this.#queue = queue
    this.#expiresMs = expiresMs
    this.#publisher = publisher
    this.#withChannel = withChannel
  }

  /** The mark of a message that was delivered before; undefined if there is none, or its node is down. */
  async read(message: AmqpMessage): Promise<AttemptMark | undefined> {
    const queue = this.queueOf(message)
    return this.#unlessDown(async (channel) => {
      await this.#declare(channel, queue)
      const found = await channel.get(queue)
      // Closing the channel returns the mark too, but later: the next read could find none.
      if (found !== false) await channel.recover()
      const mark = found === false ? undefined : parseMark(found)
      // Zero means that a consumer returned the message untouched, so this delivery counts as the first. The mark is
      // deleted, as a redelivery without one counts as an attempt: a message that kills its process must not return forever.
      if (mark?.attempts === 0) await channel.deleteQueue(queue)
      return mark
    })
  }

  /** Resolves when the mark is safe, or cannot be written because the node of its queue is down. */
  write({ message, mark }: MarkedMessage): Promise<void> {
    return this.#writeTo({ queue: this.queueOf(message), mark })
  }

  /** Writes many marks on one channel, as a stop has little time. Resolves when each is safe or has failed. */
  writeAll(marked: readonly MarkedMessage[]): Promise<void> {
    return this.#writeEach(marked.map(({ message, mark }) => ({ queue: this.queueOf(message), mark })))
  }

  /** Notes that messages are returned without an attempt. @param queues - of their marks. */
  writeReturned(queues: readonly string[]): Promise<void> {
    return this.#writeEach(queues.map((queue) => ({ queue, mark: { attempts: 0, settledHandlers: [] } })))
  }

  async #writeEach(marks: readonly QueuedMark[]): Promise<void> {
    if (marks.length === 0) return
    try {
      await this.#withChannel((channel) =>
        Promise.all(marks.map(({ queue }) => this.#declare(channel, queue))),
      )
    } catch {
      // A queue that cannot be declared closes the channel for all the others: each gets its own channel.
      await Promise.allSettled(marks.map((one) => this.#writeTo(one)))
      return
    }
    await Promise.allSettled(marks.map(({ queue, mark }) => this.#publish(queue, mark)))
  }

  async #writeTo({ queue, mark }: QueuedMark): Promise<void> {
    if ((await this.#unlessDown((channel) => this.#declare(channel, queue))) === undefined) return
    await this.#publish(queue, mark)
  }

  async remove(message: AmqpMessage): Promise<void> {
    await this.#withChannel((channel) => channel.deleteQueue(this.queueOf(message)))
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

  /** @returns undefined if the queue is on a cluster node that is down. */
  #unlessDown<T>(work: (channel: AmqpChannel) => Promise<T>): Promise<T | undefined> {
    return unlessDown(this.#withChannel, work)
  }

  /** The queue of a message's mark. */
  queueOf(message: AmqpMessage): string {
    return `${this.#queue}.attempts.${identityOf(message)}`
  }

  /** The queue keeps only the last mark. */
  #declare(channel: AmqpChannel, queue: string) {
    createdQueues.publish(queue)
    return channel.assertQueue(queue, {
      durable: true,
      autoDelete: false,
      arguments: { 'x-queue-type': 'classic', 'x-expires': this.#expiresMs, 'x-max-length': 1 },
    })
  }
}

/**
 * The same for every delivery of a message. The content is part of it: a producer chooses the message id, and the mark
 * of another message must not count for this one. A copy that waited for one handler is another message than the original,
 * which may still be in the queue for other handlers.
 */
export function identityOf({ properties, content }: AmqpMessage): string {
  const target = properties.headers?.[REPLAY_HANDLERS]
  const hash = createHash('sha256')
    .update(`${properties.messageId ?? ''}\0`)
    .update(content)
    .update(typeof target === 'string' ? target : '')
  return hash.digest('hex').slice(0, 24)
}

function parseMark({ properties }: AmqpMessage): AttemptMark | undefined {
  const { attempts, settled_handlers: settled } = properties.headers ?? {}
  if (typeof attempts !== 'number' || !Number.isSafeInteger(attempts) || attempts < 0) return undefined
  return { attempts, settledHandlers: (typeof settled === 'string' ? parseNames(settled) : undefined) ?? [] }
}
