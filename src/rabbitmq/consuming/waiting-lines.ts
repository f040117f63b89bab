import { placesOf, REPLAY_HANDLERS, type ReplayTarget, waitHeader } from '../../transport/replay-headers.ts'
import type { Wait } from '../../transport/waiting.ts'
import type { AmqpConnection, AmqpMessage } from '../client/client.ts'
import type { WithChannel } from '../client/connection.ts'
import { linesQueueOf } from '../client/names.ts'
import { copyOf, messageIdOf } from '../dead-letters/dead-letter-message.ts'
import { undefinedIfNotFound } from '../errors.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import type { RabbitMQPublisher } from '../publishing/publisher.ts'
import { type LineEntry, lineOf, RabbitMQLineIndex } from './line-index.ts'
import { lostError, RabbitMQLineQueue } from './line-queue.ts'
import { addressOf, entryIn, noteIn, originalOf, placeIdOf, recordIn, recordOf } from './line-records.ts'

/** Messages that are published to the group at the same time. */
const PAGE = 100
/** Interval between two looks for a queue that another consumer has, in milliseconds. */
const LOOK_MS = 2000
/** Interval between two looks at the dead letters behind which messages wait, in milliseconds. */
const CHECK_MS = 60_000

export interface WaitingLinesParts {
  readonly options: ResolvedRabbitMQOptions
  /** Undefined if the group has no partitions. */
  readonly partition: number | undefined
  /** The connection that consumes from the partition. */
  readonly connection: AmqpConnection
  readonly publisher: RabbitMQPublisher
  readonly withChannel: WithChannel
  /** True if this consumer is certainly the active one of the partition. */
  readonly isActive: () => boolean
  /** The ids of the places of all dead letters of the group. */
  readonly parkedPlaces: () => Promise<ReadonlySet<string>>
  /** Called when messages may have become due. */
  readonly onReady: () => void
  /** Called when messages follow whose dead letters were removed without the bus. */
  readonly onLettersGone: (count: number) => void
  readonly onClosed: (lines: RabbitMQWaitingLines) => void
}

/** A delivery, as far as its place among the waiting messages depends on it. */
export interface PlacedMessage {
  readonly raw: AmqpMessage
  readonly key: string | undefined
  readonly replayTarget: ReplayTarget | undefined
}

interface OpenLines {
  readonly queue: RabbitMQLineQueue
  readonly index: RabbitMQLineIndex
}

/**
 * The messages of one partition that wait in the order of their aggregates. The active consumer of the partition holds
 * their queue, so it knows what waits. It publishes the first message of each line to the group when its wait is over, and
 * keeps its record until the message is handled.
 */
export class RabbitMQWaitingLines {
  readonly #parts: WaitingLinesParts
  readonly #queueName: string
  #opening: Promise<OpenLines> | undefined
  #queue: RabbitMQLineQueue | undefined
  /** Once all records have arrived. */
  #current: OpenLines | undefined
  #isClosed = false
  #isGroupQueueLost = false
  #lookedAt = Number.NEGATIVE_INFINITY
  /** When the dead letters were last looked for, by the monotonic clock. */
  #checkedAt = Number.NEGATIVE_INFINITY

  constructor(parts: WaitingLinesParts) {
    this.#parts = parts
    this.#queueName = linesQueueOf(parts.options.names, parts.partition)
  }

  /** The earliest time since when one of the messages waits, in milliseconds since 1970; Infinity if none is known. */
  get oldestSince(): number {
    return this.#current?.index.oldestSince() ?? Number.POSITIVE_INFINITY
  }

  /** True if the message came from a wait that has ended, or continues with a later record: it was published twice. */
  isOver({ raw, replayTarget }: PlacedMessage): boolean {
    const id = replayTarget?.earlier?.place
    const record = recordIn(raw)
    if (this.#current === undefined || id === undefined || record === undefined) return false
    return this.#current.index.get(id)?.record !== record
  }

  /** Resolves when a copy of the message is stored. It replaces the copy of an earlier try. */
  async add(message: PlacedMessage, { delayMs, keepsOrder: _keepsOrder, ...wait }: Wait): Promise<void> {
    const lines = await this.#open()
    const id = this.#idOf(message, wait.handlerName)
    await this.#store(lines, { message, wait, id, delayMs, place: lines.index.get(id)?.place })
  }

  /**
   * Stores a copy of the message behind those of the same line, unless `limit` of them are there.
   * @returns how many there are.
   */
  async addBehind(message: PlacedMessage, handlerName: string, limit: number): Promise<number> {
    const { key, replayTarget } = message
    if (key === undefined) return 0
    const lines = await this.#open()
    const id = this.#idOf(message, handlerName)
    const entries = lines.index.line(lineOf(handlerName, key))
    const at = entries.findIndex((entry) => entry.id === id)
    const wait = { handlerName, attempts: 0, firstFailedAt: new Date() }
    if (placesOf(replayTarget).has(handlerName)) {
      if (at <= 0) return 0
      // A dead letter that is replayed before others of its line waits at its place.
      await this.#store(lines, { message, wait, id, delayMs: 0, place: entries[at]?.place })
      return Math.min(limit - 1, at)
    }
    // After a crash, the copy may exist.
    if (at >= 0) return Math.max(1, Math.min(limit - 1, at))
    if (entries.length === 0 || entries.length >= limit) return entries.length
    await this.#store(lines, { message, wait, id, delayMs: 0, place: undefined })
    return entries.length
  }

  /** The places that a message gets as a dead letter, by the names of the handlers that park. */
  placesOf(message: PlacedMessage, handlerNames: readonly string[]): ReadonlyMap<string, string> {
    return new Map(
      message.key === undefined ? [] : handlerNames.map((name) => [name, this.#idOf(message, name)]),
    )
  }

  /** Keeps the places of a message that has become a dead letter, so that no other follows. */
  async park({ key }: PlacedMessage, places: ReadonlyMap<string, string>): Promise<void> {
    if (places.size === 0) return
    const { index, queue } = await this.#open()
    await Promise.all(
      [...places].map(([name, id]) => {
        const place = index.get(id)?.place ?? index.nextPlace()
        return queue.store(recordOf('parked', { id, line: lineOf(name, key ?? ''), place }))
      }),
    )
  }

  /** Ends the waits of a message that was handled, so that the next ones of its lines follow. */
  async passOn({ replayTarget }: PlacedMessage, except: readonly string[]): Promise<void> {
    const ids = [...placesOf(replayTarget)].flatMap(([name, id]) => (except.includes(name) ? [] : [id]))
    if (ids.length === 0) return
    const lines = await this.#open()
    lines.queue.drop(ids.flatMap((id) => lines.index.end(id)))
    // If the message were acknowledged first, its record could remain, and nothing would end its wait.
    await lines.queue.flushed()
    this.#parts.onReady()
  }

  /**
   * Publishes the messages whose waits are over to the group.
   * @returns how long the next one has to wait, in milliseconds; undefined if none does, or another consumer has the queue.
   */
  async release(): Promise<number | undefined> {
    if (this.#isClosed) return undefined
    if (this.#opening === undefined && !(await this.#isFree())) return undefined
    const { index, queue } = await this.#open()
    await this.#endAbandoned({ index, queue })
    const due = index.due(Date.now())
    for (let start = 0; start < due.length; start += PAGE) {
      await Promise.all(due.slice(start, start + PAGE).map((entry) => this.#publish({ index, queue }, entry)))
    }
    const nextAt = index.nextDueAt()
    return nextAt === Number.POSITIVE_INFINITY ? undefined : Math.max(0, nextAt - Date.now())
  }

  /** Leaves the queue to the next consumer of the partition. Never rejects. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#parts.onClosed(this)
    await this.#leave()
  }

  /** The queue of the group was deleted, perhaps with published messages: they are published again. */
  async groupQueueLost(): Promise<void> {
    this.#isGroupQueueLost = true
    if (this.#opening !== undefined) this.#forgetReleases(await this.#opening)
  }

  #forgetReleases({ index, queue }: OpenLines): void {
    if (!this.#isGroupQueueLost) return
    this.#isGroupQueueLost = false
    queue.drop(index.undoReleases())
    this.#parts.onReady()
  }

  /** Dead letters can be removed in other ways than by the bus: they may expire, for example. */
  async #endAbandoned({ index, queue }: OpenLines): Promise<void> {
    if (index.firstParked().length === 0 || performance.now() - this.#checkedAt < CHECK_MS) return
    const before = new Set(index.firstParked().map(({ record }) => record))
    this.#checkedAt = performance.now()
    const letters = await this.#parts.parkedPlaces()
    // If one was replayed meanwhile, the note about it has arrived then.
    await queue.flushed()
    // A dead letter is stored before its place.
    const gone = index.firstParked().filter(({ id, record }) => before.has(record) && !letters.has(id))
    queue.drop(gone.flatMap(({ id }) => index.end(id)))
    if (gone.length > 0) this.#parts.onLettersGone(gone.length)
  }

  async #leave(): Promise<void> {
    const queue = this.#queue
    this.#queue = undefined
    this.#opening = undefined
    this.#current = undefined
    await queue?.close()
  }

  #open(): Promise<OpenLines> {
    if (this.#opening !== undefined) return this.#opening
    if (this.#isClosed) return Promise.reject(lostError(this.#queueName, 'is in use by another consumer'))
    const index = new RabbitMQLineIndex()
    const { connection, publisher, options, onReady } = this.#parts
    const queue: RabbitMQLineQueue = new RabbitMQLineQueue({
      queue: this.#queueName,
      durable: options.durable,
      ...{ connection, publisher },
      arrived: (record, kind, message) => this.#arrived({ index, queue }, record, kind, message),
      lost: () => {
        if (this.#queue !== queue) return
        this.#queue = undefined
        this.#opening = undefined
        this.#current = undefined
        if (!this.#isClosed) onReady()
      },
    })
    this.#queue = queue
    const opening = this.#start({ index, queue })
    this.#opening = opening
    return opening
  }

  async #start(lines: OpenLines): Promise<OpenLines> {
    try {
      await lines.queue.open()
    } catch (error) {
      await lines.queue.close()
      throw error
    }
    if (this.#queue === lines.queue) this.#current = lines
    this.#forgetReleases(lines)
    this.#parts.onReady()
    return lines
  }

  /** True if messages may wait that no consumer of the partition takes care of. */
  async #isFree(): Promise<boolean> {
    if (performance.now() - this.#lookedAt < LOOK_MS) return false
    this.#lookedAt = performance.now()
    const looking = this.#parts.withChannel((channel) => channel.checkQueue(this.#queueName))
    const state = await undefinedIfNotFound(looking)
    return state !== undefined && state.consumerCount === 0 && state.messageCount > 0
  }

  #arrived({ index, queue }: OpenLines, record: string, kind: string, message: AmqpMessage): void {
    const entry = entryIn(record, kind, message)
    if (entry !== undefined) {
      queue.drop(index.set(entry))
      return
    }
    const { id, of } = noteIn(message)
    if (kind === 'released' || kind === 'replayed') {
      const { record: current = '' } = index.get(id) ?? {}
      queue.drop(index.note(id, { record, of: kind === 'released' ? of : current }))
      return
    }
    if (kind === 'end') queue.drop(index.end(id))
    queue.drop([record])
    if (kind === 'end') this.#parts.onReady()
    if (kind === 'yield' && !this.#parts.isActive()) void this.#leave()
    if (kind === 'count') void this.#answer(message)
  }

  /** Answers once all records have arrived. */
  async #answer({ properties }: AmqpMessage): Promise<void> {
    const { replyTo, correlationId } = properties
    try {
      const { index } = await this.#open()
      const content = Buffer.from(String(index.waiting))
      await this.#parts.publisher.publishRaw({
        exchange: '',
        routingKey: replyTo ?? '',
        content,
        properties: { correlationId },
      })
    } catch {
      // The caller estimates the number if it gets no answer.
    }
  }

  async #store(
    { index, queue }: OpenLines,
    { message, wait, id, delayMs, place = index.nextPlace() }: Storing,
  ): Promise<void> {
    const { content, properties } = copyOf(message.raw, { [REPLAY_HANDLERS]: waitHeader(wait, id) })
    const entry = { id, place, line: lineOf(wait.handlerName, message.key ?? '') }
    const dueAt = Math.ceil(Date.now() + delayMs)
    await queue.store({ ...recordOf('waiting', { ...entry, dueAt }, properties), content })
  }

  /** A crash between the two steps can only duplicate the message. */
  async #publish({ index, queue }: OpenLines, entry: LineEntry): Promise<void> {
    index.release(entry)
    try {
      const { content, properties } = originalOf(await queue.read(entry.record), entry.record)
      await this.#parts.publisher.publishRaw({ ...addressOf(this.#parts.options), content, properties })
    } catch (error) {
      index.undoRelease(entry)
      throw error
    }
    // The next consumer does not publish it again. After a restart of the broker, acknowledgments may be lost, so that nobody
    // would end the wait: then the note is lost, too.
    const headers = recordOf('released', { id: entry.id, of: entry.record })
    queue.store({ ...headers, isTransient: true }).catch(() => undefined)
  }

  #idOf({ raw, replayTarget }: PlacedMessage, handlerName: string): string {
    const given = replayTarget?.earlier?.place ?? replayTarget?.places?.get(handlerName)
    return given ?? placeIdOf(this.#parts.partition, messageIdOf(raw), handlerName)
  }
}

/** A copy to store. */
interface Storing {
  readonly message: PlacedMessage
  readonly wait: Pick<Wait, 'handlerName' | 'attempts' | 'firstFailedAt'>
  readonly id: string
  readonly delayMs: number
  /** Undefined for a place behind all others. */
  readonly place: number | undefined
}
