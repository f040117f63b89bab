import type {
  DeadLetterPage,
  DeadLetterStore,
  ReplayRequest,
  StoredDeadLetter,
} from '../../transport/transport.ts'
import type { WithChannel } from '../client/connection.ts'
import { readGroups } from '../client/groups.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import type { RabbitMQPublisher } from '../publishing/publisher.ts'
import { type PageStart, RabbitMQDeadLetterQueue } from './dead-letter-queue.ts'

export interface DeadLettersParts {
  readonly options: ResolvedRabbitMQOptions
  readonly publisher: RabbitMQPublisher
  readonly withChannel: WithChannel
}

/** The last letter of a page, over all groups. */
interface LetterCursor extends PageStart {
  readonly group: string
}

/**
 * The dead letters of all groups on the exchange, group by group, each oldest first. An id is `{group}/{message
 * id}#{tag}`. An id without the group refers to this bus's own group, and a plain message id to the oldest dead letter
 * of that message.
 */
export class RabbitMQDeadLetters implements DeadLetterStore {
  /** The dead letters of this bus's group. */
  readonly own: RabbitMQDeadLetterQueue
  readonly #parts: DeadLettersParts
  readonly #queues = new Map<string, RabbitMQDeadLetterQueue>()

  constructor(parts: DeadLettersParts) {
    this.#parts = parts
    this.own = this.#queueOf(parts.options.consumerGroup)
  }

  async list(limit: number, cursor: string | undefined): Promise<DeadLetterPage> {
    const start = cursor === undefined ? undefined : parseCursor(cursor)
    const letters: StoredDeadLetter[] = []
    let end: LetterCursor = start ?? { group: '', position: 0, id: '' }
    for (const group of await this.#groups()) {
      if (start !== undefined && group < start.group) continue
      const from = group === start?.group ? start : undefined
      // One more than the page holds shows whether there is another page.
      const found = await this.#queueOf(group).list(limit - letters.length + 1, from)
      for (const letter of found) {
        if (letters.length === limit) return { letters, cursor: JSON.stringify(end) }
        letters.push({ ...letter, id: `${group}/${letter.id}` })
        const position = (end.group === group ? end.position : 0) + 1
        end = { group, position, id: letter.id }
      }
    }
    return { letters, cursor: undefined }
  }

  async get(id: string): Promise<StoredDeadLetter | undefined> {
    const { queue, messageId, group } = await this.#locate(id)
    const letter = await queue.get(messageId)
    return letter === undefined ? undefined : { ...letter, id: `${group}/${letter.id}` }
  }

  async count(ofGroup?: string): Promise<number> {
    if (ofGroup !== undefined) return this.#queueOf(ofGroup).count()
    let count = 0
    for (const group of await this.#groups()) count += await this.#queueOf(group).count()
    return count
  }

  async replay(id: string, request: ReplayRequest): Promise<boolean> {
    const { queue, messageId } = await this.#locate(id)
    return queue.replay(messageId, request)
  }

  async remove(ids: readonly string[]): Promise<number> {
    const byQueue = new Map<RabbitMQDeadLetterQueue, string[]>()
    const groups = await this.#groups()
    for (const id of ids) {
      const { queue, messageId } = this.#locateAmong(groups, id)
      byQueue.set(queue, [...(byQueue.get(queue) ?? []), messageId])
    }
    let removed = 0
    for (const [queue, messageIds] of byQueue) removed += await queue.remove(messageIds)
    return removed
  }

  async #locate(id: string) {
    return this.#locateAmong(await this.#groups(), id)
  }

  #locateAmong(groups: readonly string[], id: string) {
    const own = this.#parts.options.consumerGroup
    // A group's name may contain a slash: the longest match is the right one.
    const named = groups.filter((group) => id.startsWith(`${group}/`)).toSorted((a, b) => b.length - a.length)
    const [group] = named
    if (group === undefined) return { queue: this.own, group: own, messageId: id }
    return { queue: this.#queueOf(group), group, messageId: id.slice(group.length + 1) }
  }

  async #groups(): Promise<readonly string[]> {
    const { options, withChannel } = this.#parts
    const known = await withChannel((channel) => readGroups(channel, options))
    return [...new Set([...known, options.consumerGroup])].toSorted()
  }

  #queueOf(group: string): RabbitMQDeadLetterQueue {
    const { options, publisher, withChannel } = this.#parts
    const known = this.#queues.get(group)
    if (known !== undefined) return known
    const queue = new RabbitMQDeadLetterQueue({ options, group, publisher, withChannel })
    this.#queues.set(group, queue)
    return queue
  }
}

/** A malformed cursor restarts the list. */
function parseCursor(text: string): LetterCursor | undefined {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null) return undefined
    const { group, position, id }: { group?: unknown; position?: unknown; id?: unknown } = value
    const isCursor = typeof group === 'string' && typeof position === 'number' && typeof id === 'string'
    return isCursor ? { group, position, id } : undefined
  } catch {
    return undefined
  }
}
