import { sleep } from '../../kit/time.ts'
import type { MessageScan, ScannedMessage, ScanRequest } from '../../transport/admin.ts'
import type { AmqpChannel, AmqpMessage } from '../client/client.ts'
import type { WithChannel } from '../client/connection.ts'
import { undefinedIfNotFound } from '../errors.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import { toIncoming } from '../wire/message.ts'

/** Messages that are read on one channel. */
const WINDOW = 1000
/** How long a stream may take to deliver its first message, in milliseconds. */
const FIRST_MS = 5000
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

  /** Undefined if the journal is empty, or does not exist yet. */
  async #range(): Promise<JournalRange | undefined> {
    const journal = this.#options.names.journal
    const state = await undefinedIfNotFound(this.#withChannel((channel) => channel.checkQueue(journal)))
    if (state === undefined || state.messageCount === 0) return undefined
    const [first] = await this.#consume('first', ({ length }) => length > 0)
    if (first === undefined) return undefined
    const start = offsetOf(first)
    return { start, end: start + state.messageCount }
  }

  async #offsetAt(from: Date | string, { start, end }: JournalRange, isForward: boolean): Promise<number> {
    if (from === 'first') return start
    if (from === 'last') return end
    if (!(from instanceof Date)) return Number(from) + (isForward ? 1 : 0)
    const seconds = Math.floor(from.getTime() / 1000) + (isForward ? 0 : 1)
    const offset = { '!': 'timestamp', value: seconds } as const
    const [first] = await this.#consume(offset, ({ length }) => length > 0)
    return first === undefined ? end : offsetOf(first)
  }

  async #read(start: number, end: number): Promise<readonly ScannedMessage[]> {
    const messages = await this.#consume(start, (found) => {
      const last = found.at(-1)
      return last !== undefined && offsetOf(last) >= end - 1
    })
    return messages
      .filter((message) => offsetOf(message) >= start && offsetOf(message) < end)
      .map((message) => ({
        message: toIncoming(message, String(offsetOf(message))),
        position: String(offsetOf(message)),
        partition: undefined,
        storedAt: undefined,
      }))
  }

  /** Reads messages until there are enough. The queue keeps them. */
  #consume(
    offset: StreamOffset,
    isEnough: (found: readonly AmqpMessage[]) => boolean,
  ): Promise<readonly AmqpMessage[]> {
    return this.#withChannel(async (channel) => {
      const found: AmqpMessage[] = []
      const enough = new AbortController()
      await channel.prefetch(WINDOW)
      const { consumerTag } = await this.#start(channel, offset, (message) => {
        if (enough.signal.aborted) return
        channel.ack(message)
        found.push(message)
        if (isEnough(found)) enough.abort()
      })
      await sleep(FIRST_MS, enough.signal)
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
