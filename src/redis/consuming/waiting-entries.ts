import { parseNames, REPLAY_HANDLERS, waitHeader } from '../../transport/replay-headers.ts'
import type { TransportHost } from '../../transport/transport.ts'
import type { Wait, WaitingStore } from '../../transport/waiting.ts'
import { AS_BUFFERS, type RedisArgument, type RedisClient } from '../client/client.ts'
import type { RedisLink } from '../client/link.ts'
import { runScript } from '../client/scripts.ts'
import { commandError, isNoGroup } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { readEntries } from '../wire/entry.ts'
import type { HeldEntry } from './held-entry.ts'

/** Entries that one call of the script looks for. */
const PAGE = 100
/** The scripts' reply if they cannot copy the entry. */
const NEEDS_TWO_STEPS = 2
/** The script's reply if no entry keeps its order. */
const NONE_WAITS = 3
/** A member that no entry has. A command on it has no effect, but needs the right. */
const NO_MEMBER = ''

export interface RedisWaitingEntriesParts {
  readonly options: ResolvedRedisOptions
  readonly commands: RedisLink
  readonly host: TransportHost
}

/**
 * Copies of entries that wait for an attempt of one handler. Each copy has a key of its own, and a sorted set holds when
 * each is due, by the clock of the server. A due copy moves to the replay stream of the group.
 */
export class RedisWaitingEntries implements WaitingStore {
  readonly #parts: RedisWaitingEntriesParts

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

  /**
   * Stores a copy, or replaces the one that an earlier try stored.
   * @returns false if another consumer owns the entry, or its group is gone.
   */
  async add(entry: HeldEntry, { delayMs, keepsOrder, ...wait }: Wait): Promise<boolean> {
    return (await this.#add(entry, wait, delayMs, keepsOrder ? 'keep' : '')) !== 0
  }

  /**
   * Stores a copy behind the entries of the same aggregate that keep their order.
   * @returns false if there are none; undefined if another consumer owns the entry.
   */
  async addBehind(entry: HeldEntry, handlerName: string): Promise<boolean | undefined> {
    if (entry.message.key === undefined) return false
    const wait = { handlerName, attempts: 0, firstFailedAt: new Date() }
    const outcome = await this.#add(entry, wait, 0, 'behind')
    return outcome === 0 ? undefined : outcome !== NONE_WAITS
  }

  /** Lets the entry follow that waits behind this place. */
  async passOn(place: string | undefined): Promise<void> {
    const order = place === undefined ? undefined : this.#orderOf(place)
    if (place === undefined || order === undefined) return
    await this.#run(this.#parts.commands.requireClient(), 'PASS_ON', [this.#dueKey, order], [place])
  }

  async #add(
    { message, stream, replayTarget }: HeldEntry,
    wait: Omit<Wait, 'delayMs' | 'keepsOrder'>,
    delayMs: number,
    mode: 'keep' | 'behind' | '',
  ): Promise<unknown> {
    const { options, commands } = this.#parts
    const { consumerGroup, consumerName, keys, address } = options
    const hasOrder = mode !== '' && message.key !== undefined
    // Both streams of a group may have an entry with the same id.
    const origin = `${stream.deletesSettled ? 'replay' : 'stream'}:${message.id}`
    const member = hasOrder
      ? (replayTarget?.earlier?.place ?? JSON.stringify([origin, wait.handlerName, message.key]))
      : `${origin}:${wait.handlerName}`
    const key = keys.waitingEntry(consumerGroup, member)
    const order = (hasOrder ? this.#orderOf(member) : undefined) ?? key
    const header = [REPLAY_HANDLERS, waitHeader(wait, hasOrder ? member : undefined)] as const
    const delay = String(Math.ceil(delayMs))
    const client = commands.requireClient()
    const place = hasOrder ? mode : ''
    try {
      const outcome = await runScript(
        client,
        'POSTPONE',
        [stream.key, this.#dueKey, key, order],
        [consumerGroup, consumerName, message.id, member, delay, ...header, place],
      )
      if (outcome !== NEEDS_TWO_STEPS) return outcome
      await this.#addInTwoSteps(client, { message, stream, key, header })
      return await runScript(client, 'SET_DUE', [this.#dueKey, order], [member, delay, place])
    } catch (error) {
      if (isNoGroup(error)) return 0
      throw commandError(address, 'EVAL (postponing)', error)
    }
  }

  /** The key of the order in which a member has a place; undefined if it has none. */
  #orderOf(member: string): string | undefined {
    const [, handlerName, key] = parseNames(member) ?? []
    if (handlerName === undefined || key === undefined) return undefined
    const { keys, consumerGroup } = this.#parts.options
    return keys.waitingOrder(consumerGroup, handlerName, key)
  }

  async release(): Promise<number | undefined> {
    const { options, commands } = this.#parts
    for (;;) {
      const reply = await this.#run(commands.requireClient(), 'NEXT_DUE', [this.#dueKey], [String(PAGE)])
      const [nextMs, ...members] = Array.isArray(reply) ? reply.map(String) : []
      for (const member of members) await this.#releaseEntry(member, options.keys)
      if (members.length < PAGE) return nextMs === undefined || nextMs === '' ? undefined : Number(nextMs)
    }
  }

  get #dueKey(): string {
    const { keys, consumerGroup } = this.#parts.options
    return keys.waiting(consumerGroup)
  }

  /** Stores the copy before it becomes due. */
  async #addInTwoSteps(
    client: RedisClient,
    { message, stream, key, header }: Pick<HeldEntry, 'message' | 'stream'> & CopyTarget,
  ): Promise<void> {
    const [entry] = readEntries(
      await client.sendCommand(['XRANGE', stream.key, message.id, message.id], AS_BUFFERS),
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
    const outcome = await this.#run(client, 'RELEASE_WAITING', [this.#dueKey, key, replays(group)], [member])
    if (outcome === NEEDS_TWO_STEPS) await this.#releaseInTwoSteps(key, member, replays(group))
    if (outcome !== 'lost') return
    await this.passOn(member)
    const detail = `the key ${key} of an event that waited for its next attempt was deleted`
    host.notify({ type: 'eventsLost', detail, count: 1 })
  }

  /** Stores the entry in the replay stream before the removal, so that a crash in between duplicates it and loses none. */
  async #releaseInTwoSteps(key: string, member: string, to: string): Promise<void> {
    const [entry] = readEntries(await this.#send(['XRANGE', key, '-', '+', 'COUNT', '1'], AS_BUFFERS))
    await this.#send(['ZREM', this.#dueKey, NO_MEMBER])
    if (entry !== undefined) await this.#send(['XADD', to, '*', ...entry.fields])
    await this.#send(['ZREM', this.#dueKey, member])
    await this.#send(['UNLINK', key])
  }

  async #run(
    client: RedisClient,
    name: 'NEXT_DUE' | 'RELEASE_WAITING' | 'PASS_ON',
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
