import { ConfigError, toError } from '../../errors.ts'
import { wrongCursor } from '../../kit/places.ts'
import type { SweepOptions, SweepReport, SweepVerdict } from '../../transport/dead-letter-store.ts'
import { MessageRefusedError } from '../../transport/errors.ts'
import { type ActionOutcome, type SweepAction, SweepRun } from '../../transport/sweep.ts'
import type {
  DeadLetterListing,
  DeadLetterPage,
  DeadLetterStore,
  ReplayRequest,
  StoredDeadLetter,
} from '../../transport/transport.ts'
import type { WithChannel } from '../client/connection.ts'
import { registerGroup } from '../client/groups.ts'
import { KnownGroups } from '../client/known-groups.ts'
import { faultOfNames, namesOf } from '../client/names.ts'
import { RabbitMQTopology } from '../client/topology.ts'
import { undefinedIfNotFound } from '../errors.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import type { RabbitMQPublisher } from '../publishing/publisher.ts'
import { importedLetter } from './dead-letter-message.ts'
import {
  type PlaceNotes,
  RabbitMQDeadLetterQueue,
  type ReplayTargetCache,
  type SweptMessage,
} from './dead-letter-queue.ts'
import type { PageStart } from './letter-walk.ts'
import type { ListedLetter } from './listed-page.ts'

export interface DeadLettersParts {
  readonly options: ResolvedRabbitMQOptions
  readonly publisher: RabbitMQPublisher
  readonly withChannel: WithChannel
  readonly placeNotes: PlaceNotes
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
  /** The groups of the exchange, which all readers of this connection share. */
  readonly knownGroups: KnownGroups
  readonly #parts: DeadLettersParts
  readonly #queues = new Map<string, RabbitMQDeadLetterQueue>()
  /** Groups whose dead letter queue exists. */
  readonly #ensured = new Map<string, Promise<void>>()

  constructor(parts: DeadLettersParts) {
    this.#parts = parts
    this.knownGroups = new KnownGroups(parts.options, parts.withChannel)
    this.own = this.#queueOf(parts.options.consumerGroup)
  }

  async list(
    limit: number,
    cursor: string | undefined,
    listing?: DeadLetterListing,
  ): Promise<DeadLetterPage> {
    if (listing?.order === 'newest') return this.#listNewest(limit, cursor, listing)
    const start = cursor === undefined ? undefined : parseCursor(cursor)
    const groups = await this.#groups(listing?.group)
    const letters: StoredDeadLetter[] = []
    let end: LetterCursor = start ?? { group: '', position: 0, id: '' }
    let left = listing?.maxScanned ?? Number.POSITIVE_INFINITY
    for (const group of groups) {
      if (start !== undefined && group < start.group) continue
      const from = group === start?.group ? start : undefined
      // One more than the page holds shows whether there is another page.
      const wanted = limit - letters.length + 1
      const page = await this.#queueOf(group).list(wanted, from, listing && { ...listing, maxScanned: left })
      for (const listed of page.listed) {
        if (letters.length === limit) return { letters, cursor: JSON.stringify(end) }
        letters.push(inGroup(group, listed))
        end = { group, position: listed.position, id: listed.id }
      }
      if (page.stoppedAt !== undefined) {
        const { position, id } = page.stoppedAt
        return { letters, cursor: JSON.stringify({ group, position, id }) }
      }
      left -= page.scanned
    }
    return { letters, cursor: undefined }
  }

  /** Merges the groups by time. The cursor holds the last letter of each group. */
  async #listNewest(
    limit: number,
    cursor: string | undefined,
    listing: DeadLetterListing,
  ): Promise<DeadLetterPage> {
    const ends = new Map(cursor === undefined ? [] : parseEnds(cursor))
    const groups = await this.#groups(listing.group)
    const found: { readonly group: string; readonly listed: ListedLetter }[] = []
    for (const group of groups) {
      const page = await this.#queueOf(group).list(limit + 1, ends.get(group), listing)
      found.push(...page.listed.map((listed) => ({ group, listed })))
    }
    // Stable, so that letters of one group keep their order.
    const sorted = found.toSorted((a, b) => failedAt(b.listed) - failedAt(a.listed))
    const letters = sorted.slice(0, limit).map(({ group, listed }) => {
      ends.set(group, { position: listed.position, id: listed.id })
      return inGroup(group, listed)
    })
    return { letters, cursor: sorted.length > limit ? JSON.stringify({ ends: [...ends] }) : undefined }
  }

  async sweep(
    visit: (letter: StoredDeadLetter) => SweepVerdict,
    options: SweepOptions,
  ): Promise<SweepReport> {
    const targets: ReplayTargetCache = new Map()
    const run = new SweepRun<SweptMessage>(
      (letter) => visit(letter),
      options,
      (actions) => Promise.all(actions.map((action) => outcomeOf(action, targets))),
    )
    for (const group of await this.#groups(options.group)) {
      if (!(await this.#queueOf(group).sweep(run, options.batchSize))) break
    }
    return run.report
  }

  async append(letter: Omit<StoredDeadLetter, 'id'>, ofGroup: string): Promise<void> {
    const { options, publisher } = this.#parts
    const group = letter.reason.consumerGroup ?? ofGroup
    const fault = faultOfNames(namesOf(options, group))
    if (fault !== undefined) {
      throw new ConfigError('deadLetters.import', [
        `${JSON.stringify(group.slice(0, 100))}, the group of a dead letter, ${fault}`,
      ])
    }
    await this.#ensureQueue(group)
    await publisher.publishRaw(importedLetter(namesOf(options, group), letter))
  }

  /** Declares the dead letter queue of a group that has none on this broker. */
  #ensureQueue(group: string): Promise<void> {
    const known = this.#ensured.get(group) ?? this.#declareQueue(group)
    this.#ensured.set(group, known)
    known.catch(() => this.#ensured.delete(group))
    return known
  }

  async #declareQueue(group: string): Promise<void> {
    const { withChannel } = this.#parts
    const options = {
      ...this.#parts.options,
      consumerGroup: group,
      names: namesOf(this.#parts.options, group),
    }
    const { deadLetterQueue } = options.names
    const found = await undefinedIfNotFound(withChannel((channel) => channel.checkQueue(deadLetterQueue)))
    if (found !== undefined) return
    await withChannel(async (channel) => {
      await new RabbitMQTopology(options).declareDeadLetters(channel)
      await registerGroup(channel, options)
    })
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

  /** @param only - the group to read, if it is not all. */
  async #groups(only?: string): Promise<readonly string[]> {
    if (only !== undefined) return [only]
    const known = await this.knownGroups.read()
    return [...new Set([...known, this.#parts.options.consumerGroup])].toSorted()
  }

  #queueOf(group: string): RabbitMQDeadLetterQueue {
    const known = this.#queues.get(group)
    if (known !== undefined) return known
    const queue = new RabbitMQDeadLetterQueue({ ...this.#parts, group })
    this.#queues.set(group, queue)
    return queue
  }
}

/** @throws ConfigError */
function parseCursor(text: string): LetterCursor {
  const value = parseObject(text)
  const start = startOf(value)
  const { group } = value
  if (start === undefined || typeof group !== 'string') throw wrongCursor(text)
  return { group, ...start }
}

function inGroup(group: string, { id, letter }: ListedLetter): StoredDeadLetter {
  return { ...letter, id: `${group}/${id}` }
}

function failedAt({ letter }: ListedLetter): number {
  return letter.reason.failedAt?.getTime() ?? 0
}

async function outcomeOf(
  action: SweepAction<SweptMessage>,
  targets: ReplayTargetCache,
): Promise<ActionOutcome> {
  try {
    await action.item.queue.act(action, targets)
    return true
  } catch (thrown) {
    if (thrown instanceof MessageRefusedError) return toError(thrown)
    throw thrown
  }
}

/** The last letter of each group in a cursor. @throws ConfigError */
function parseEnds(text: string): readonly (readonly [string, PageStart])[] {
  const ends = parseObject(text)['ends']
  if (!Array.isArray(ends)) throw wrongCursor(text)
  return ends.map((entry: unknown) => {
    const [group, start]: unknown[] = Array.isArray(entry) ? entry : []
    const known = startOf(start)
    if (typeof group !== 'string' || known === undefined) throw wrongCursor(text)
    return [group, known]
  })
}

function startOf(value: unknown): PageStart | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { position, id }: { position?: unknown; id?: unknown } = value
  return typeof position === 'number' && typeof id === 'string' ? { position, id } : undefined
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}
