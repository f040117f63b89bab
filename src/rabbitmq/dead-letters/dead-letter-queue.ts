import { replayDestination } from '../../transport/replay-destination.ts'
import type { SweepAction, SweepRun, SweptLetter } from '../../transport/sweep.ts'
import type { DeadLetterListing, ReplayRequest, StoredDeadLetter } from '../../transport/transport.ts'
import type { AmqpChannel, AmqpMessage } from '../client/client.ts'
import type { WithChannel } from '../client/connection.ts'
import { type NameOptions, namesOf, type RabbitMQNames } from '../client/names.ts'
import { undefinedIfNotFound } from '../errors.ts'
import type { RabbitMQPublisher } from '../publishing/publisher.ts'
import {
  editedLetter,
  keyOf,
  LetterIds,
  messageIdOf,
  placesIn,
  type ReplayAddress,
  readLetter,
  readLetterReason,
  replayOf,
} from './dead-letter-message.ts'
import type { LetterListing } from './letter-listing.ts'
import type { PageStart } from './letter-walk.ts'
import type { ListedPage } from './listed-page.ts'
import { openQueue } from './read-pages.ts'
import { type HeldLock, type LockedWork, MAX_HOLD_MS, ReaderLock } from './reader-lock.ts'

export interface DeadLetterQueueParts {
  readonly options: NameOptions
  readonly group: string
  readonly publisher: RabbitMQPublisher
  readonly withChannel: WithChannel
  readonly placeNotes: PlaceNotes
}

/** Informs the consumers of a group about the dead letters behind which messages wait. */
export interface PlaceNotes {
  /** False if the group keeps no order, so that no dead letter has a place. */
  readonly isUsed: boolean
  /** Lets the messages behind a dead letter follow. @param ids - of its places. */
  end(ids: Iterable<string>, names: RabbitMQNames): Promise<void>
  /** Notes that a dead letter was replayed, and keeps its places. */
  replayed(ids: Iterable<string>, names: RabbitMQNames): Promise<void>
}

/** A dead letter in the queue. */
interface QueuedLetter {
  readonly id: string
  readonly message: AmqpMessage
}

/** A dead letter that a sweep visits. */
export interface SweptMessage extends SweptLetter {
  readonly message: AmqpMessage
  readonly channel: AmqpChannel
  readonly queue: RabbitMQDeadLetterQueue
}

/**
 * The dead letter queue of one group. AMQP cannot browse a queue. A read takes messages on a channel of its own, does not
 * acknowledge them, and so returns them to their positions. Readers take turns; see {@link ReaderLock}.
 */
export class RabbitMQDeadLetterQueue {
  readonly group: string
  readonly #parts: DeadLetterQueueParts
  readonly #names: RabbitMQNames
  readonly #lock: ReaderLock
  #listing: Promise<LetterListing> | undefined

  constructor(parts: DeadLetterQueueParts) {
    this.group = parts.group
    this.#parts = parts
    this.#names = namesOf(parts.options, parts.group)
    this.#lock = new ReaderLock(this.#names.deadLetterQueue, parts.withChannel)
  }

  /** The page after a letter, in the order of the listing. If that letter is gone, the page after its position. */
  async list(limit: number, start: PageStart | undefined, listing?: DeadLetterListing): Promise<ListedPage> {
    this.#listing ??= this.#loadListing()
    const page = await (await this.#listing).page({ limit, start, listing })
    return page ?? { listed: [], scanned: 0 }
  }

  /** Loaded on demand, because most programs list no dead letters. */
  async #loadListing(): Promise<LetterListing> {
    const { LetterListing } = await import('./letter-listing.ts')
    return new LetterListing(this.#names, this.#lock)
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
      const { count } = await openQueue(channel, this.#names.deadLetterQueue)
      return count
    }, 0)
  }

  /** Removes all dead letters. @returns their number. */
  purge(): Promise<number> {
    return this.#exclusively(async (channel) => {
      let purged = 0
      for await (const { message } of this.#parts.placeNotes.isUsed ? this.#scan(channel) : []) {
        await this.#release(message)
        channel.ack(message)
        purged += 1
      }
      const { messageCount } = await channel.purgeQueue(this.#names.deadLetterQueue)
      return purged + messageCount
    }, 0)
  }

  /** Publishes to one group alone, so that no other group gets a copy. */
  replay(id: string, request: ReplayRequest): Promise<boolean> {
    return this.#exclusively(async (channel) => {
      const letter = await this.#find(channel, id)
      if (letter === undefined) return false
      await this.#republish(letter.message, request, (group) => this.#targetOf(group))
      channel.ack(letter.message)
      return true
    }, false)
  }

  async #republish(
    message: AmqpMessage,
    request: ReplayRequest,
    targetOf: (group: string) => Promise<ReplayAddress>,
  ): Promise<void> {
    const reason = { ...readLetterReason(message), consumerGroup: this.group }
    const destination = replayDestination(reason, request)
    const target = await targetOf(destination.consumerGroup)
    const letter = request.message === undefined ? message : editedLetter(message, request.message)
    const places = placesIn(message)
    // The messages behind it wait in the group that failed.
    const staysThere = destination.consumerGroup === this.group && keyOf(letter) === keyOf(message)
    const kept = staysThere ? places : undefined
    await this.#parts.placeNotes.replayed(kept?.values() ?? [], this.#names)
    await this.#parts.publisher.publishRaw(replayOf(target, letter, { ...destination, places: kept }))
    if (!staysThere) await this.#release(message)
  }

  /** Lets the messages behind a dead letter follow, before it is removed. */
  async #release(message: AmqpMessage): Promise<void> {
    await this.#parts.placeNotes.end(placesIn(message)?.values() ?? [], this.#names)
  }

  /** The ids of the places of all letters. */
  places(): Promise<ReadonlySet<string>> {
    return this.#exclusively(async (channel) => {
      const ids = new Set<string>()
      for await (const { message } of this.#scan(channel)) {
        for (const id of placesIn(message)?.values() ?? []) ids.add(id)
      }
      return ids
    }, new Set<string>())
  }

  /** A group without partitions is reached by its queue, through the default exchange. */
  async #targetOf(group: string): Promise<ReplayAddress> {
    const { queue, partitionExchange } = namesOf(this.#parts.options, group)
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
        await this.#release(message)
        channel.ack(message)
        removed += 1
        if (wanted.size === 0) break
      }
      return removed
    }, 0)
  }

  /** Visits all letters. Gives way to other readers, and then continues where it was. @returns false if the sweep ends. */
  async sweep(run: SweepRun<SweptMessage>, batchSize: number): Promise<boolean> {
    const pass: SweepPass = { run, batchSize, seen: new Set(), left: undefined }
    let state = await this.#slice(pass, {})
    while (state === 'gave way') state = await this.#slice(pass, { isResumed: true })
    return state !== 'ended'
  }

  #slice(pass: SweepPass, options: LockedWork): Promise<'done' | 'ended' | 'gave way'> {
    return this.#exclusively((channel, lock) => this.#visit(pass, channel, lock), 'done', {
      ...options,
      limitMs: Number.POSITIVE_INFINITY,
    })
  }

  async #visit(pass: SweepPass, channel: AmqpChannel, lock: HeldLock) {
    const startedAt = performance.now()
    const ids = new LetterIds()
    let caughtUpMs: number | undefined
    const { count, pages } = await openQueue(channel, this.#names.deadLetterQueue)
    pass.left ??= count
    for await (const page of pages) {
      const letters = page.map((message) => ({ id: ids.next(message), message }))
      const fresh = letters.filter(({ id }) => !pass.seen.has(id)).slice(0, pass.left)
      if (fresh.length > 0) caughtUpMs ??= performance.now() - startedAt
      for (let start = 0; start < fresh.length; start += pass.batchSize) {
        const chunk = fresh.slice(start, start + pass.batchSize)
        for (const { id } of chunk) pass.seen.add(id)
        pass.left -= chunk.length
        if (!(await pass.run.take(chunk.map((letter) => this.#swept(channel, letter))))) return 'ended'
        const elapsedMs = performance.now() - startedAt
        // Twice the time that it took to come back here, so that the sweep advances whatever the others do.
        if (lock.isWanted && elapsedMs >= 2 * (caughtUpMs ?? 0)) return 'gave way'
        // The broker closes a channel that leaves messages unacknowledged for long.
        if (elapsedMs > MAX_HOLD_MS) return 'gave way'
      }
      if (pass.left === 0) break
    }
    return 'done'
  }

  #swept(channel: AmqpChannel, { id, message }: QueuedLetter): SweptMessage {
    const letter = readLetter(this.#names, `${this.group}/${id}`, message)
    return { letter, message, channel, queue: this }
  }

  /** @param targets - the addresses that are known already. */
  async act({ item, replay }: SweepAction<SweptMessage>, targets: ReplayTargetCache): Promise<void> {
    if (replay !== undefined) {
      await this.#republish(item.message, replay, (group) => {
        const target = targets.get(group) ?? this.#targetOf(group)
        targets.set(group, target)
        return target
      })
    } else await this.#release(item.message)
    item.channel.ack(item.message)
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
    const { pages } = await openQueue(channel, this.#names.deadLetterQueue)
    for await (const page of pages) {
      for (const message of page) yield { id: ids.next(message), message }
    }
  }

  /** @param absent - the answer if the queue does not exist yet. */
  async #exclusively<T>(
    work: (channel: AmqpChannel, lock: HeldLock) => Promise<T>,
    absent: T,
    options: LockedWork = {},
  ): Promise<T> {
    this.#listing?.then(
      (listing) => listing.release(),
      () => undefined, // the listing reports it
    )
    return (await undefinedIfNotFound(this.#lock.run(work, options))) ?? absent
  }
}

export type ReplayTargetCache = Map<string, Promise<ReplayAddress>>

/** A sweep of one queue, over the times that it gives way. */
interface SweepPass {
  readonly run: SweepRun<SweptMessage>
  readonly batchSize: number
  /** Ids of the letters that were visited. */
  readonly seen: Set<string>
  /** Number of letters to visit; undefined before the start. */
  left: number | undefined
}
