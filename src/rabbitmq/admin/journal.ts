import { type PageSource, readAhead } from '../../kit/merged-pages.ts'
import { checkPlace, NUMBERED } from '../../kit/places.ts'
import { sleep } from '../../kit/time.ts'
import type { MessageScan, ScannedMessage, ScanRequest } from '../../transport/admin.ts'
import { ConnectionError } from '../../transport/errors.ts'
import type { AmqpChannel, AmqpMessage } from '../client/client.ts'
import type { WithChannel } from '../client/connection.ts'
import { undefinedIfNotFound } from '../errors.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import { toIncoming } from '../wire/message.ts'

/** Messages in the first window that is read on one channel, and in the largest. */
const MIN_WINDOW = 500
const MAX_WINDOW = 4000
/** Windows that are read at once: the broker needs as long to start one as to deliver it. */
const WINDOWS = 3
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
    const source = readAhead(isForward ? this.#forward(part) : this.#backward(part), WINDOWS)
    return { total: Math.max(0, part.end - part.start), pages: pagesOf(source) }
  }

  #forward({ start, end }: JournalRange): PageSource<ScannedMessage> {
    let [at, size] = [start, MIN_WINDOW]
    return {
      next: async () => {
        if (at >= end) return undefined
        const from = at
        at = Math.min(end, at + size)
        size = Math.min(2 * size, MAX_WINDOW)
        return this.#read(from, at)
      },
    }
  }

  #backward({ start, end }: JournalRange): PageSource<ScannedMessage> {
    let [last, size] = [end, MIN_WINDOW]
    return {
      next: async () => {
        if (last <= start) return undefined
        const to = last
        last = Math.max(start, last - size)
        size = Math.min(2 * size, MAX_WINDOW)
        return (await this.#read(last, to)).toReversed()
      },
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
    const [first] = await this.#first('first')
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
    const [first] = await this.#first(offset)
    return first === undefined ? end : offsetOf(first)
  }

  /** The messages from `start` to before `end`, which exist. */
  async #read(start: number, end: number): Promise<readonly ScannedMessage[]> {
    const { address, connectTimeoutMs } = this.#options
    const isLast = (message: AmqpMessage) => offsetOf(message) >= end - 1
    const found = await this.#consume(start, end - start, isLast, connectTimeoutMs)
    const last = found.at(-1)
    if (last === undefined || !isLast(last)) {
      const text = `RabbitMQ at ${address} did not deliver the journal within ${connectTimeoutMs} ms (connectTimeoutMs).`
      throw new ConnectionError('CONNECTION_LOST', text)
    }
    // The broker may send a few more.
    const wanted = found.filter((message) => offsetOf(message) < end)
    return wanted.map((message) => {
      const position = String(offsetOf(message))
      return { message: toIncoming(message, position), position, partition: undefined, storedAt: undefined }
    })
  }

  /** The first message at an offset or after it; empty if there is none. */
  #first(offset: StreamOffset): Promise<readonly AmqpMessage[]> {
    return this.#consume(offset, 1, () => true, EMPTY_MS)
  }

  /** The rest of the chunk at an offset, and perhaps more; empty if there is none. */
  #chunk(offset: StreamOffset): Promise<readonly AmqpMessage[]> {
    return this.#consume(offset, CHUNK, () => true, EMPTY_MS)
  }

  /**
   * Reads messages until the one that is enough has come, and what the broker has sent after it. The queue keeps them, whether
   * they are acknowledged or not.
   * @param count - the broker sends about as many. Messages before the offset do not count.
   */
  #consume(
    offset: StreamOffset,
    count: number,
    isEnough: (message: AmqpMessage) => boolean,
    timeoutMs: number,
  ): Promise<readonly AmqpMessage[]> {
    return this.#withChannel(async (channel) => {
      const found: AmqpMessage[] = []
      const enough = new AbortController()
      await channel.prefetch(count)
      const { consumerTag } = await this.#start(channel, offset, (message) => {
        // Makes room for another one.
        if (typeof offset === 'number' && offsetOf(message) < offset) channel.ack(message)
        else found.push(message)
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

async function* pagesOf<T>(source: PageSource<T>): AsyncGenerator<readonly T[]> {
  for (let page = await source.next(); page !== undefined; page = await source.next()) yield page
}

function offsetOf({ properties }: AmqpMessage): number {
  return Number(properties.headers?.['x-stream-offset'] ?? 0)
}
