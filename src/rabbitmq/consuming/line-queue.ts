import { randomUUID } from 'node:crypto'
import { toError } from '../../errors.ts'
import { sleep } from '../../kit/time.ts'
import { ConnectionError } from '../../transport/errors.ts'
import type { AmqpChannel, AmqpConnection, AmqpMessage, AmqpTable } from '../client/client.ts'
import { channelCloser } from '../client/closing.ts'
import type { RabbitMQPublisher } from '../publishing/publisher.ts'
import type { AmqpOutgoing } from '../wire/message.ts'

/** Identifies a record. */
const RECORD = 'x-line-record'
/** What a record says. */
const KIND = 'x-line-kind'
/** The broker's text for a queue that has an exclusive consumer. */
const IN_USE = /in exclusive use/
/** Between two tries to consume, in milliseconds. */
const RETRY_MS = 25
/** Longest wait for the former consumer, in milliseconds. The caller tries again. */
const MAX_WAIT_MS = 5000
/** How long a message for the consumer of the queue is of use, in milliseconds. */
const REQUEST_MS = 10_000
/** The default of `holdMs`. The broker closes a channel that holds a message for 30 minutes. */
const HOLD_MS = 300_000

export interface LineQueueParts {
  readonly queue: string
  readonly durable: boolean
  readonly connection: AmqpConnection
  readonly publisher: RabbitMQPublisher
  /** Called for each record, in the order of the queue. */
  readonly arrived: (record: string, kind: string, message: AmqpMessage) => void
  /** Called when the queue can no longer be used. */
  readonly lost: () => void
  /** How long a record is held before it is returned and received again, in milliseconds. */
  readonly holdMs?: number
}

/** A record to store. */
export interface LineRecord {
  readonly kind: string
  readonly headers: AmqpTable
  readonly content?: Buffer
  readonly properties?: AmqpOutgoing['properties']
  /** True if it may be lost when the broker restarts. */
  readonly isTransient?: boolean
}

interface HeldRecord {
  /** Undefined while the broker redelivers it. */
  tag: number | undefined
  heldSince: number
  isDropped: boolean
}

/**
 * The queue of the messages of one partition that wait in order. One consumer at a time holds all of its records
 * unacknowledged, so it knows what waits without asking the broker. It keeps no content: a record that it returns to the
 * queue arrives again at once, with its content. If the consumer ends, the broker returns all records to their places, and
 * only then accepts another consumer.
 */
export class RabbitMQLineQueue {
  readonly #parts: LineQueueParts
  readonly #held = new Map<string, HeldRecord>()
  readonly #holdMs: number
  readonly #expected = new Map<string, PromiseWithResolvers<AmqpMessage>>()
  #channel: AmqpChannel | undefined
  #close: (() => Promise<void>) | undefined
  #renewal: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(parts: LineQueueParts) {
    this.#parts = parts
    this.#holdMs = parts.holdMs ?? HOLD_MS
  }

  /** Resolves when all records that were stored before have arrived. @throws ConnectionError */
  async open(): Promise<void> {
    const deadline = performance.now() + MAX_WAIT_MS
    for (let tries = 0; !(await this.#consume()); tries += 1) {
      if (this.#isClosed || performance.now() > deadline) throw this.#lostError('has another consumer')
      // The former consumer may have closed before it read the request.
      if (tries % 20 === 0) await this.request('yield')
      await sleep(RETRY_MS)
    }
    this.#renewal = setInterval(() => this.#renew(), this.#holdMs / 5).unref()
    await this.store({ kind: 'barrier', headers: {}, isTransient: true })
  }

  /** Stores a record. Resolves with its id when it is safe and has arrived. */
  async store(record: LineRecord): Promise<string> {
    const id = randomUUID()
    const arrival = this.#expect(id)
    try {
      await this.#parts.publisher.publishRaw(publishedRecord(this.#parts.queue, record, id))
    } catch (error) {
      this.#expected.delete(id)
      throw error
    }
    await arrival
    return id
  }

  /** Sends a request to the consumer of the queue, which may be another process. */
  request(kind: string): Promise<void> {
    return this.#parts.publisher.publishRaw(requestTo(this.#parts.queue, kind))
  }

  /** The message of a record. */
  read(id: string): Promise<AmqpMessage> {
    const held = this.#held.get(id)
    const channel = this.#channel
    if (held === undefined || channel === undefined) return Promise.reject(this.#lostError('is closed'))
    const arrival = this.#expect(id)
    this.#return(channel, held)
    return arrival
  }

  /** Removes records. */
  drop(ids: readonly string[]): void {
    for (const id of ids) {
      const held = this.#held.get(id)
      if (held === undefined) continue
      if (held.tag === undefined) held.isDropped = true
      else this.#ack(id, held.tag)
    }
  }

  /** Resolves when the broker has removed the dropped records. */
  async flushed(): Promise<void> {
    const channel = this.#channel
    if (channel === undefined) throw this.#lostError('is closed')
    // The broker answers after it has processed the acknowledgments before it.
    await channel.checkQueue(this.#parts.queue)
  }

  /** Returns all records to the queue. Never rejects. */
  async close(): Promise<void> {
    this.#end('is closed')
    await this.#close?.()
  }

  /** @returns false if another consumer holds the queue. */
  async #consume(): Promise<boolean> {
    const { connection, queue, durable } = this.#parts
    const channel = await connection.createChannel()
    this.#close = channelCloser(channel)
    channel.on('error', () => undefined)
    const settings = { durable, autoDelete: false, arguments: { 'x-queue-type': 'classic' } }
    await channel.assertQueue(queue, settings)
    await channel.prefetch(0)
    // Records arrive before the answer does.
    this.#channel = channel
    try {
      await channel.consume(queue, (message) => this.#arrived(channel, message), { exclusive: true })
    } catch (error) {
      if (!IN_USE.test(toError(error).message)) throw error
      return false
    }
    if (this.#isClosed) {
      await this.#close()
      return false
    }
    channel.on('close', () => this.#end('was closed'))
    return true
  }

  #arrived(channel: AmqpChannel, message: AmqpMessage | null): void {
    if (this.#channel !== channel || this.#isClosed) return
    if (message === null) {
      this.#end('was deleted or moved')
      void this.#close?.()
      return
    }
    const { deliveryTag: tag } = message.fields
    const id = textOf(message, RECORD)
    const kind = textOf(message, KIND)
    if (id === undefined || kind === undefined) {
      channel.ack(message)
      return
    }
    const held = this.#held.get(id)
    if (held?.isDropped) this.#ack(id, tag)
    else if (held !== undefined) {
      held.tag = tag
      held.heldSince = performance.now()
    } else {
      this.#held.set(id, { tag, heldSince: performance.now(), isDropped: false })
      this.#parts.arrived(id, kind, message)
    }
    this.#expected.get(id)?.resolve(message)
    this.#expected.delete(id)
  }

  #expect(id: string): Promise<AmqpMessage> {
    const expected = this.#expected.get(id) ?? Promise.withResolvers<AmqpMessage>()
    this.#expected.set(id, expected)
    if (this.#isClosed) expected.reject(this.#lostError('is closed'))
    // The caller may fail before it awaits this.
    expected.promise.catch(() => undefined)
    return expected.promise
  }

  /** Holds the records for another while. */
  #renew(): void {
    const channel = this.#channel
    const before = performance.now() - this.#holdMs
    if (channel === undefined) return
    for (const held of this.#held.values()) if (held.heldSince < before) this.#return(channel, held)
  }

  #return(channel: AmqpChannel, held: HeldRecord): void {
    if (held.tag === undefined) return
    const { tag } = held
    held.tag = undefined
    this.#send(() => channel.nack({ fields: { deliveryTag: tag } }, false, true))
  }

  #ack(id: string, deliveryTag: number): void {
    this.#held.delete(id)
    this.#send(() => this.#channel?.ack({ fields: { deliveryTag } }))
  }

  #send(frame: () => void): void {
    try {
      frame()
    } catch {
      // The channel closed within this turn, and returns all records.
      this.#end('was closed')
    }
  }

  #end(why: string): void {
    if (this.#isClosed) return
    this.#isClosed = true
    clearInterval(this.#renewal)
    this.#channel = undefined
    this.#held.clear()
    for (const expected of this.#expected.values()) expected.reject(this.#lostError(why))
    this.#expected.clear()
    this.#parts.lost()
  }

  #lostError(why: string): ConnectionError {
    return lostError(this.#parts.queue, why)
  }
}

/** @param why - a clause about the queue. */
export function lostError(queue: string, why: string): ConnectionError {
  return new ConnectionError('CONNECTION_LOST', `The queue ${queue} ${why}.`)
}

/** A record as it is published. */
export function publishedRecord(
  queue: string,
  { kind, headers, content, properties, isTransient = false }: LineRecord,
  id: string = randomUUID(),
): AmqpOutgoing {
  return {
    exchange: '',
    routingKey: queue,
    content: content ?? Buffer.alloc(0),
    properties: {
      ...properties,
      deliveryMode: isTransient ? 1 : 2,
      headers: { ...headers, [RECORD]: id, [KIND]: kind },
    },
  }
}

/** A request to the consumer of the queue of a partition. It has no meaning for later ones. */
export function requestTo(
  queue: string,
  kind: string,
  properties: AmqpOutgoing['properties'] = {},
): AmqpOutgoing {
  return {
    exchange: '',
    routingKey: queue,
    content: Buffer.alloc(0),
    properties: {
      ...properties,
      deliveryMode: 1,
      expiration: String(REQUEST_MS),
      headers: { [RECORD]: randomUUID(), [KIND]: kind },
    },
  }
}

function textOf({ properties }: AmqpMessage, header: string): string | undefined {
  const value = properties.headers?.[header]
  return typeof value === 'string' ? value : undefined
}
