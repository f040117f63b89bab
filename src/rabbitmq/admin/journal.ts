import { checkPlace, NUMBERED } from '../../kit/places.ts'
import { sleep } from '../../kit/time.ts'
import type { MessageScan, ScannedMessage, ScanRequest } from '../../transport/admin.ts'
import { ConnectionError } from '../../transport/errors.ts'
import type { AmqpChannel, AmqpMessage } from '../client/client.ts'
import type { WithChannel } from '../client/connection.ts'
import { undefinedIfNotFound } from '../errors.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import { toIncoming } from '../wire/message.ts'

/** Messages that are read on one channel. */
const WINDOW = 1000
/** More messages than a chunk has. */
const CHUNK = 65_535
/** Time after which a stream that delivers nothing counts as empty, in milliseconds. */
const EMPTY_MS = 2000
/** Where a consumer of a stream starts: an offset, or a time in whole seconds. */
type StreamOffset = 'first' | 'last' | number | { readonly '!': 'timestamp'; readonly value: number }

/** The offsets that the journal holds. */
interface JournalRange {
  readonly start: number
  /** The offset of the next message. */
  readonly end: number
}

/** Reads the journal: a stream queue that keeps what its consumers have read. */
export class RabbitMQJournal {
  readonly #options: ResolvedRabbitMQOptions
  readonly #withChannel: WithChannel

  constructor(options: ResolvedRabbitMQOptions, withChannel: WithChannel) {
    this.#options = options
    this.#withChannel = withChannel
  }

  async open({ from, direction }: ScanRequest): Promise<MessageScan> {
    checkPlace('browse: from', from, (text) => NUMBERED.test(text))
    const range = await this.#range()
    const isForward = direction === 'forward'
    const at = range === undefined ? 0 : await this.#offsetAt(from, range, isForward)
    const { start, end } = range ?? { start: 0, end: 0 }
    const part = isForward ? { start: Math.max(start, at), end } : { start, end: Math.min(end, at) }
    const pages = isForward ? this.#forward(part) : this.#backward(part)
    return { total: Math.max(0, part.end - part.start), pages }
  }

  async *#forward({ start, end }: JournalRange): AsyncGenerator<readonly ScannedMessage[]> {
    for (let at = start; at < end; at += WINDOW) yield this.#read(at, Math.min(end, at + WINDOW))
  }

  async *#backward({ start, end }: JournalRange): AsyncGenerator<readonly ScannedMessage[]> {
    for (let last = end; last > start; last -= WINDOW) {
      const page = await this.#read(Math.max(start, last - WINDOW), last)
      yield page.toReversed()
    }
  }

  /**
   * Undefined if the journal is empty, or does not exist yet. The broker's count of its messages is seconds old, so the last
   * chunk tells the end: the broker sends a chunk in one go, and answers requests after it.
   */
  async #range(): Promise<JournalRange | undefined> {
    const { journal } = this.#options.names
    const state = await undefinedIfNotFound(this.#withChannel((channel) => channel.checkQueue(journal)))
    if (state === undefined) return undefined
    const [first] = await this.#chunk('first')
    const last = (await this.#chunk('last')).at(-1)
    return first === undefined || last === undefined
      ? undefined
      : { start: offsetOf(first), end: offsetOf(last) + 1 }
  }

  async #offsetAt(from: Date | string, { start, end }: JournalRange, isForward: boolean): Promise<number> {
    if (from === 'first') return start
    if (from === 'last') return end
    if (!(from instanceof Date)) return Number(from) + (isForward ? 1 : 0)
    const seconds = Math.floor(from.getTime() / 1000) + (isForward ? 0 : 1)
    const offset = { '!': 'timestamp', value: seconds } as const
    const [first] = await this.#chunk(offset)
    return first === undefined ? end : offsetOf(first)
  }

  /** The messages from `start` to before `end`, which exist. */
  async #read(start: number, end: number): Promise<readonly ScannedMessage[]> {
    const { address, connectTimeoutMs } = this.#options
    const isLast = (message: AmqpMessage) => offsetOf(message) >= end - 1
    const found = await this.#consume(start, WINDOW, isLast, connectTimeoutMs)
    const last = found.at(-1)
    if (last === undefined || !isLast(last)) {
      const text = `RabbitMQ at ${address} did not deliver the journal within ${connectTimeoutMs} ms (connectTimeoutMs).`
      throw new ConnectionError('CONNECTION_LOST', text)
    }
    return found
      .filter((message) => offsetOf(message) >= start && offsetOf(message) < end)
      .map((message) => ({
        message: toIncoming(message, String(offsetOf(message))),
        position: String(offsetOf(message)),
        partition: undefined,
        storedAt: undefined,
      }))
  }

  /** The rest of the chunk at an offset, and perhaps more; empty if there is none. */
  #chunk(offset: StreamOffset): Promise<readonly AmqpMessage[]> {
    return this.#consume(offset, CHUNK, () => true, EMPTY_MS)
  }

  /** Reads messages until the one that is enough has come, and what the broker has sent after it. The queue keeps them. */
  #consume(
    offset: StreamOffset,
    prefetch: number,
    isEnough: (message: AmqpMessage) => boolean,
    timeoutMs: number,
  ): Promise<readonly AmqpMessage[]> {
    return this.#withChannel(async (channel) => {
      const found: AmqpMessage[] = []
      const enough = new AbortController()
      await channel.prefetch(prefetch)
      const { consumerTag } = await this.#start(channel, offset, (message) => {
        channel.ack(message)
        found.push(message)
        if (isEnough(message)) enough.abort()
      })
      await sleep(timeoutMs, enough.signal)
      // Answered after the messages of the same chunk.
      await channel.cancel(consumerTag)
      return found
    })
  }

  #start(channel: AmqpChannel, offset: StreamOffset, onMessage: (message: AmqpMessage) => void) {
    return channel.consume(
      this.#options.names.journal,
      (message) => {
        if (message !== null) onMessage(message)
      },
      { arguments: { 'x-stream-offset': offset } },
    )
  }
}

function offsetOf({ properties }: AmqpMessage): number {
  return Number(properties.headers?.['x-stream-offset'] ?? 0)
}
