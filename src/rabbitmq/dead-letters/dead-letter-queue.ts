import { Mutex } from '../../kit/mutex.ts'
import { replayDestination } from '../../transport/replay-destination.ts'
import type { ReplayRequest, StoredDeadLetter } from '../../transport/transport.ts'
import type { AmqpChannel, AmqpMessage } from '../client/client.ts'
import type { WithChannel } from '../client/connection.ts'
import { type NameOptions, namesOf, type RabbitMQNames } from '../client/names.ts'
import { undefinedIfNotFound } from '../errors.ts'
import type { RabbitMQPublisher } from '../publishing/publisher.ts'
import {
  LetterIds,
  messageIdOf,
  type ReplayAddress,
  readLetter,
  readLetterReason,
  replayOf,
} from './dead-letter-message.ts'

export interface DeadLetterQueueParts {
  readonly options: NameOptions
  readonly group: string
  readonly publisher: RabbitMQPublisher
  readonly withChannel: WithChannel
}

/** A dead letter in the queue. */
interface QueuedLetter {
  readonly id: string
  readonly message: AmqpMessage
}

/** The letter that the previous page ended with. */
export interface PageStart {
  /** Its position in the queue, from 1. */
  readonly position: number
  readonly id: string
}

/**
 * The dead letter queue of one group. AMQP cannot browse a queue. A read takes messages on a channel of its own, does not
 * acknowledge them, and so returns them to their positions. Meanwhile other readers, and `count`, see only the rest:
 * operations of one bus therefore run one at a time.
 */
export class RabbitMQDeadLetterQueue {
  readonly #parts: DeadLetterQueueParts
  readonly #names: RabbitMQNames
  readonly #mutex = new Mutex()

  constructor(parts: DeadLetterQueueParts) {
    this.#parts = parts
    this.#names = namesOf(parts.options, parts.group)
  }

  /** The page after a letter. If that letter is gone, the page after its position. */
  list(limit: number, start: PageStart | undefined): Promise<readonly StoredDeadLetter[]> {
    return this.#exclusively(async (channel) => {
      const letters: StoredDeadLetter[] = []
      let position = 0
      let isPast = start === undefined
      for await (const { id, message } of this.#scan(channel)) {
        position += 1
        if (isPast) letters.push(readLetter(this.#names, id, message))
        else isPast = id === start?.id || position === start?.position
        if (letters.length === limit) break
      }
      return letters
    }, [])
  }

  get(id: string): Promise<StoredDeadLetter | undefined> {
    return this.#exclusively(async (channel) => {
      const letter = await this.#find(channel, id)
      return letter === undefined ? undefined : readLetter(this.#names, letter.id, letter.message)
    }, undefined)
  }

  /** The messages with their headers, oldest first. */
  raw(limit: number): Promise<readonly AmqpMessage[]> {
    return this.#exclusively(async (channel) => {
      const messages: AmqpMessage[] = []
      if (limit < 1) return messages
      for await (const { message } of this.#scan(channel)) {
        if (messages.push(message) === limit) break
      }
      return messages
    }, [])
  }

  count(): Promise<number> {
    return this.#exclusively(async (channel) => {
      const { messageCount } = await channel.checkQueue(this.#names.deadLetterQueue)
      return messageCount
    }, 0)
  }

  /** Removes all dead letters. @returns their number. */
  purge(): Promise<number> {
    return this.#exclusively(async (channel) => {
      const { messageCount } = await channel.purgeQueue(this.#names.deadLetterQueue)
      return messageCount
    }, 0)
  }

  /** Publishes to one group alone, so that no other group gets a copy. */
  replay(id: string, request: ReplayRequest): Promise<boolean> {
    const { options, group, publisher } = this.#parts
    return this.#exclusively(async (channel) => {
      const letter = await this.#find(channel, id)
      if (letter === undefined) return false
      const { message } = letter
      const destination = replayDestination({ ...readLetterReason(message), consumerGroup: group }, request)
      const names = namesOf(options, destination.consumerGroup)
      const target = await this.#targetOf(names)
      await publisher.publishRaw(replayOf(target, message, destination))
      channel.ack(message)
      return true
    }, false)
  }

  /** A group without partitions is reached by its queue, through the default exchange. */
  async #targetOf({ queue, partitionExchange }: RabbitMQNames): Promise<ReplayAddress> {
    const lookup = this.#parts.withChannel((channel) => channel.checkExchange(partitionExchange))
    const isPartitioned = (await undefinedIfNotFound(lookup)) !== undefined
    return { exchange: isPartitioned ? partitionExchange : '', routingKey: queue }
  }

  remove(ids: readonly string[]): Promise<number> {
    const wanted = new Set(ids)
    return this.#exclusively(async (channel) => {
      let removed = 0
      for await (const { id, message } of this.#scan(channel)) {
        if (!wanted.delete(id) && !wanted.delete(messageIdOf(message))) continue
        channel.ack(message)
        removed += 1
        if (wanted.size === 0) break
      }
      return removed
    }, 0)
  }

  /** The letter with this id, or the oldest whose message has it. */
  async #find(channel: AmqpChannel, id: string): Promise<QueuedLetter | undefined> {
    let oldest: QueuedLetter | undefined
    for await (const letter of this.#scan(channel)) {
      if (letter.id === id) return letter
      if (messageIdOf(letter.message) === id) oldest ??= letter
    }
    return oldest
  }

  /** The letters that are in the queue at the start, oldest first. Letters added meanwhile are not included. */
  async *#scan(channel: AmqpChannel): AsyncGenerator<QueuedLetter, void> {
    const ids = new LetterIds()
    const { deadLetterQueue } = this.#names
    const { messageCount } = await channel.checkQueue(deadLetterQueue)
    for (let read = 0; read < messageCount; read += 1) {
      const message = await channel.get(deadLetterQueue)
      if (message === false) return
      yield { id: ids.next(message), message }
    }
  }

  /** Runs after the operations before it. @param absent - the answer if the queue does not exist yet. */
  #exclusively<T>(work: (channel: AmqpChannel) => Promise<T>, absent: T): Promise<T> {
    return this.#mutex.runExclusive(async () => {
      const result = this.#parts.withChannel(async (channel) => {
        const done = await work(channel)
        // Closing the channel returns the messages too, but later: the next read could find an empty queue.
        await channel.recover()
        return done
      })
      return (await undefinedIfNotFound(result)) ?? absent
    })
  }
}
