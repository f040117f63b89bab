import { placesOf, REPLAY_HANDLERS, waitHeader } from '../../transport/replay-headers.ts'
import type { TransportHost } from '../../transport/transport.ts'
import type { Wait, WaitingStore } from '../../transport/waiting.ts'
import { AS_BUFFERS, type RedisArgument, type RedisClient } from '../client/client.ts'
import type { RedisLink } from '../client/link.ts'
import { FENCED_OFF, type Fence, runFenced, runScript } from '../client/scripts.ts'
import { commandError, isNoGroup } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { readEntries } from '../wire/entry.ts'
import { partitionOfKey } from '../wire/partition.ts'
import { orderKey, placeOf, readPlace } from '../wire/place.ts'
import type { HeldEntry } from './held-entry.ts'

/** Entries that one call of the script looks for. */
const PAGE = 100
/** The scripts' reply if they cannot copy the entry. */
const NEEDS_TWO_STEPS = 2
/** Interval between two searches for dead letters that were removed without the bus, in milliseconds. */
const STALE_SEARCH_MS = 60_000
/** A member that no entry has. A command on it has no effect, but needs the right. */
const NO_MEMBER = ''

export interface RedisWaitingEntriesParts {
  readonly options: ResolvedRedisOptions
  readonly commands: RedisLink
  readonly host: TransportHost
  /** Lets entries follow whose dead letter was removed without the bus. @returns the number of these dead letters. */
  readonly releaseStale: (group: string) => Promise<number>
}

/**
 * Copies of entries that wait for an attempt of one handler. Each copy has a key of its own, and a sorted set holds when
 * each is due, by the clock of the server. A due copy moves to the replay stream of the group.
 */
export class RedisWaitingEntries implements WaitingStore {
  readonly parkProblem = undefined
  onReady: (() => void) | undefined
  readonly #parts: RedisWaitingEntriesParts
  #searchedStaleAt = Number.NEGATIVE_INFINITY

  constructor(parts: RedisWaitingEntriesParts) {
    this.#parts = parts
  }

  /** The keys exist while entries wait. */
  prepare(): Promise<void> {
    return Promise.resolve()
  }

  async count(): Promise<number> {
    return Number(await this.#send(['ZCARD', this.#dueKey]))
  }

  async oldestSince(): Promise<Date | undefined> {
    const client = this.#parts.commands.requireClient()
    const start = String(await this.#run(client, 'OLDEST_WAITING', [this.#sinceKey, this.#dueKey], []))
    return start === '' ? undefined : new Date(Number(start))
  }

  /**
   * Stores a copy, or replaces the one that an earlier try stored.
   * @returns false if another consumer owns the entry, or its group is gone.
   */
  async add(entry: HeldEntry, { delayMs, keepsOrder, ...wait }: Wait): Promise<boolean> {
    return (await this.#add(entry, wait, delayMs, keepsOrder ? 'keep' : '')) !== FENCED_OFF
  }

  /**
   * Stores a copy behind the entries of the same aggregate that keep their order, unless `limit` of them do.
   * @returns how many there are; undefined if another consumer owns the entry.
   */
  async addBehind(entry: HeldEntry, handlerName: string, limit: number): Promise<number | undefined> {
    if (entry.message.key === undefined) return 0
    const wait = { handlerName, attempts: 0, firstFailedAt: new Date() }
    const isReplay = placesOf(entry.replayTarget).has(handlerName)
    const outcome = await this.#add(entry, wait, 0, isReplay ? 'again' : 'behind', limit)
    if (outcome === FENCED_OFF) return undefined
    return Array.isArray(outcome) ? Number(outcome[0]) : 0
  }

  /**
   * Lets the entries follow that wait behind this one, but not for the handlers `except`.
   * @returns false if this consumer lost the partition.
   */
  async passOn({ replayTarget, stream, lease }: HeldEntry, except: readonly string[]): Promise<boolean> {
    for (const [handlerName, place] of placesOf(replayTarget)) {
      if (except.includes(handlerName)) continue
      if (!(await this.#passOn(place, { partition: stream.partition, lease }))) return false
    }
    return true
  }

  async #passOn(place: string, held: Pick<Fence, 'partition' | 'lease'>): Promise<boolean> {
    const order = readPlace(place)?.isOrdered === true ? this.#orderOf(place) : undefined
    if (order === undefined) return true
    const { commands, options } = this.#parts
    const fence = { leases: options.keys.leases(options.consumerGroup), ...held }
    try {
      const client = commands.requireClient()
      return (await runFenced(client, 'PASS_ON', fence, [this.#dueKey, order], [place])) !== FENCED_OFF
    } catch (error) {
      throw commandError(options.address, 'EVAL (ending a wait)', error)
    }
  }

  async #add(
    entry: HeldEntry,
    wait: Omit<Wait, 'delayMs' | 'keepsOrder'>,
    delayMs: number,
    mode: 'keep' | 'behind' | 'again' | '',
    limit = 0,
  ): Promise<unknown> {
    const { options, commands } = this.#parts
    const { consumerGroup, consumerName, keys, address } = options
    const { entryId, stream, lease } = entry
    const { member, isOrdered } = placeOf(entry, wait.handlerName, mode !== '')
    const copy = {
      key: keys.waitingEntry(consumerGroup, member),
      header: [REPLAY_HANDLERS, waitHeader(wait, isOrdered ? member : undefined)],
    }
    const order = this.#orderOf(member)
    const place = isOrdered ? mode : ''
    const delay = String(Math.ceil(delayMs))
    const since = String(wait.firstFailedAt.getTime())
    const client = commands.requireClient()
    try {
      const outcome = await runFenced(
        client,
        'POSTPONE',
        { leases: keys.leases(consumerGroup), partition: stream.partition, lease },
        [stream.key, this.#dueKey, copy.key, order, this.#sinceKey],
        [consumerGroup, consumerName, entryId, member, delay, ...copy.header, place, String(limit), since],
      )
      if (outcome === 0) return FENCED_OFF
      if (outcome !== NEEDS_TWO_STEPS) return outcome
      await this.#addInTwoSteps(client, entry, copy)
      const dueKeys = [this.#dueKey, order, this.#sinceKey]
      return await runScript(client, 'SET_DUE', dueKeys, [member, delay, since, place])
    } catch (error) {
      if (isNoGroup(error)) return FENCED_OFF
      throw commandError(address, 'EVAL (postponing)', error)
    }
  }

  /** The key of the order in which a member has a place, if it has one. */
  #orderOf(member: string): string {
    const { keys, consumerGroup } = this.#parts.options
    return orderKey(keys, consumerGroup, member)
  }

  async release(): Promise<number | undefined> {
    const { options, commands } = this.#parts
    await this.#releaseStale()
    for (;;) {
      const reply = await this.#run(commands.requireClient(), 'NEXT_DUE', [this.#dueKey], [String(PAGE)])
      const [nextMs, ...members] = Array.isArray(reply) ? reply.map(String) : []
      for (const member of members) await this.#releaseEntry(member, options.keys)
      if (members.length < PAGE) return nextMs === undefined || nextMs === '' ? undefined : Number(nextMs)
    }
  }

  async #releaseStale(): Promise<void> {
    const { options, host, releaseStale } = this.#parts
    if (performance.now() - this.#searchedStaleAt < STALE_SEARCH_MS) return
    const count = await releaseStale(options.consumerGroup)
    this.#searchedStaleAt = performance.now()
    if (count === 0) return
    const detail =
      'dead letters behind which later events waited were removed without the bus; those events follow now'
    host.notify({ type: 'eventsLost', detail, count })
  }

  get #dueKey(): string {
    const { keys, consumerGroup } = this.#parts.options
    return keys.waiting(consumerGroup)
  }

  get #sinceKey(): string {
    const { keys, consumerGroup } = this.#parts.options
    return keys.waitingSince(consumerGroup)
  }

  /** Stores the copy before it becomes due. */
  async #addInTwoSteps(
    client: RedisClient,
    { message, entryId, stream }: HeldEntry,
    { key, header }: CopyTarget,
  ): Promise<void> {
    const [entry] = readEntries(
      await client.sendCommand(['XRANGE', stream.key, entryId, entryId], AS_BUFFERS),
    )
    // If the entry was trimmed, only the decoded message is left.
    const body = typeof message.body === 'string' ? message.body : Buffer.from(message.body)
    const original = entry?.fields ?? [...Object.entries(message.headers).flat(), 'payload', body]
    await client.sendCommand(['UNLINK', key])
    await client.sendCommand(['XADD', key, '*', ...withoutHeader(original), ...header])
  }

  async #releaseEntry(
    member: string,
    { waitingEntry, replays }: ResolvedRedisOptions['keys'],
  ): Promise<void> {
    const { options, commands, host } = this.#parts
    const group = options.consumerGroup
    const client = commands.requireClient()
    const key = waitingEntry(group, member)
    const partition = partitionOfKey(readPlace(member)?.key, options.partitions)
    const to = replays(group, partition)
    const used = [this.#dueKey, key, to, this.#sinceKey]
    const outcome = await this.#run(client, 'RELEASE_WAITING', used, [member])
    if (outcome === NEEDS_TWO_STEPS) await this.#releaseInTwoSteps(key, member, to)
    if (outcome !== 'lost') return
    await this.#passOn(member, { partition, lease: undefined })
    const detail = `the key ${key} of an event that waited for its next attempt was deleted`
    host.notify({ type: 'eventsLost', detail, count: 1 })
  }

  /** Stores the entry in the replay stream before the removal, so that a crash in between duplicates it and loses none. */
  async #releaseInTwoSteps(key: string, member: string, to: string): Promise<void> {
    const [entry] = readEntries(await this.#send(['XRANGE', key, '-', '+', 'COUNT', '1'], AS_BUFFERS))
    await this.#send(['ZREM', this.#dueKey, NO_MEMBER])
    if (entry !== undefined) await this.#send(['XADD', to, '*', ...entry.fields])
    await this.#send(['ZREM', this.#dueKey, member])
    await this.#send(['ZREM', this.#sinceKey, member])
    await this.#send(['UNLINK', key])
  }

  async #run(
    client: RedisClient,
    name: 'NEXT_DUE' | 'RELEASE_WAITING' | 'OLDEST_WAITING',
    keys: readonly string[],
    args: readonly string[],
  ): Promise<unknown> {
    try {
      return await runScript(client, name, keys, args)
    } catch (error) {
      throw commandError(this.#parts.options.address, 'EVAL (ending a wait)', error)
    }
  }

  async #send(command: RedisArgument[], options?: object): Promise<unknown> {
    const { commands, options: given } = this.#parts
    try {
      return await commands.requireClient().sendCommand(command, options)
    } catch (error) {
      throw commandError(given.address, String(command[0]), error)
    }
  }
}

interface CopyTarget {
  readonly key: string
  readonly header: readonly string[]
}

/** The fields of the entry without the header of an earlier replay, as in the script. */
function withoutHeader(fields: readonly RedisArgument[]): readonly RedisArgument[] {
  return fields.filter((_field, index) => String(fields[index - (index % 2)]) !== REPLAY_HANDLERS)
}
