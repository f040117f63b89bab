import { sleep } from '../../kit/time.ts'
import type { TransportHost } from '../../transport/transport.ts'
import type { RedisClient } from '../client/client.ts'
import type { RedisLink } from '../client/link.ts'
import {
  type GroupState,
  isBefore,
  readStreamState,
  type StreamState,
  type StreamWithGroups,
} from '../client/stream-state.ts'
import { commandError } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'

/** A group is reported if it prevents this many trims in a row without acknowledging an entry. */
const REPORT_AFTER_TRIMS = 3

export interface RedisTrimmerParts {
  readonly options: ResolvedRedisOptions
  readonly link: RedisLink
  readonly host: TransportHost
}

/** The oldest entry that a group needs, and the group. */
interface Needed {
  readonly id: string
  readonly group: string
}

/**
 * Trims the stream to its limits. Unless `trim` is `'unsafe'`, it keeps what any group has not acknowledged. It reports a
 * group that holds trimming back, and entries that it removes before a group has read them.
 */
export class RedisTrimmer {
  readonly #parts: RedisTrimmerParts
  readonly #stopped = new AbortController()
  #heldBack: (Needed & { readonly trims: number }) | undefined

  constructor(parts: RedisTrimmerParts) {
    this.#parts = parts
  }

  start(): void {
    const { maxLength, maxAgeMs } = this.#parts.options
    if (maxLength !== undefined || maxAgeMs !== undefined) void this.#trimPeriodically()
  }

  stop(): void {
    this.#stopped.abort()
  }

  async #trimPeriodically(): Promise<void> {
    const { options, link, host } = this.#parts
    while (await sleep(options.trimIntervalMs, this.#stopped.signal)) {
      try {
        const { client } = link
        if (client !== undefined) await this.#trim(client)
      } catch (error) {
        host.notify({ type: 'readFailed', error: commandError(options.address, 'XTRIM', error) })
      }
    }
  }

  async #trim(client: RedisClient): Promise<void> {
    const { keys, trim, maxAgeMs } = this.#parts.options
    const state = await readStreamState(client, keys.stream)
    if (state === undefined) return
    const needed = trim === 'unsafe' ? undefined : await this.#oldestNeeded(client, state.groups)
    const excess = await this.#excessOf(client, state.stream)
    const oldest = maxAgeMs === undefined ? undefined : `${Date.now() - maxAgeMs}-0`
    let removed = 0
    if (oldest !== undefined) {
      const limit = needed !== undefined && isBefore(needed.id, oldest) ? needed.id : oldest
      removed += Number(await client.sendCommand(['XTRIM', keys.stream, 'MINID', '~', limit]))
    }
    if (excess > 0) removed += await this.#trimLength(client, needed, excess)
    this.#reportHeldBack(state.stream, needed, excess > removed ? undefined : oldest, excess - removed)
    if (removed > 0) this.#reportUnread(state, removed)
  }

  async #excessOf(client: RedisClient, { length }: StreamState): Promise<number> {
    const { keys, maxLength, maxAgeMs } = this.#parts.options
    if (maxLength === undefined) return 0
    const current = maxAgeMs === undefined ? length : Number(await client.sendCommand(['XLEN', keys.stream]))
    return current - maxLength
  }

  async #trimLength(client: RedisClient, needed: Needed | undefined, excess: number): Promise<number> {
    const { keys, maxLength } = this.#parts.options
    const command =
      needed === undefined
        ? ['XTRIM', keys.stream, 'MAXLEN', '~', String(maxLength)]
        : // LIMIT stops at the wanted length, MINID at the oldest entry that a group still needs.
          ['XTRIM', keys.stream, 'MINID', '~', needed.id, 'LIMIT', String(excess)]
    return Number(await client.sendCommand(command))
  }

  /** The oldest id that a group has not acknowledged; undefined if there is no group. */
  async #oldestNeeded(client: RedisClient, groups: readonly GroupState[]): Promise<Needed | undefined> {
    let oldest: Needed | undefined
    for (const group of groups) {
      const id = await this.#oldestOf(client, group)
      if (oldest === undefined || isBefore(id, oldest.id)) oldest = { id, group: group.name }
    }
    return oldest
  }

  async #oldestOf(client: RedisClient, { name, lastDeliveredId }: GroupState): Promise<string> {
    const summary = await client.sendCommand(['XPENDING', this.#parts.options.keys.stream, name])
    const [count, first]: unknown[] = Array.isArray(summary) ? summary : []
    // If nothing is pending, every delivered entry is acknowledged.
    return Number(count) > 0 ? String(first) : nextId(lastDeliveredId)
  }

  /** Reports a group that acknowledges nothing while it keeps entries beyond the limits. The group may be abandoned. */
  #reportHeldBack(
    stream: StreamState,
    needed: Needed | undefined,
    oldest: string | undefined,
    excess: number,
  ): void {
    const isTooLong = excess > 0
    const isTooOld = oldest !== undefined && needed !== undefined && isBefore(needed.id, oldest)
    const isWaiting =
      stream.lastEntryId !== null && needed !== undefined && !isBefore(stream.lastEntryId, needed.id)
    if (needed === undefined || !isWaiting || !(isTooLong || isTooOld)) {
      this.#heldBack = undefined
      return
    }
    const isSame = this.#heldBack?.group === needed.group && this.#heldBack.id === needed.id
    const trims = isSame ? (this.#heldBack?.trims ?? 0) + 1 : 1
    this.#heldBack = { ...needed, trims }
    if (trims !== REPORT_AFTER_TRIMS) return
    const detail =
      `The group ${needed.group} has not acknowledged entry ${needed.id}, so ${this.#parts.options.keys.stream} ` +
      'cannot be trimmed further. Start its consumers, or delete the group with XGROUP DESTROY.'
    this.#parts.host.notify({ type: 'trimmingHeldBack', group: needed.group, detail })
  }

  /** Reports removed entries that a group, or any group, had not read. */
  #reportUnread({ stream, groups }: StreamWithGroups, removed: number): void {
    const { keys } = this.#parts.options
    if (groups.length === 0) {
      this.#reportLost(
        `${removed} entries were trimmed from ${keys.stream} before any group had read them`,
        removed,
      )
    }
    for (const { name, lag } of groups) {
      if (lag === null) continue
      const read = Math.max(0, stream.length - lag)
      const count = removed - read
      if (count <= 0) continue
      this.#reportLost(
        `${count} entries were trimmed from ${keys.stream} before the group ${name} had read them`,
        count,
      )
    }
  }

  #reportLost(detail: string, count: number): void {
    this.#parts.host.notify({ type: 'eventsLost', detail, count })
  }
}

function nextId(id: string): string {
  const [time = '0', sequence = '0'] = id.split('-')
  return `${time}-${BigInt(sequence) + 1n}`
}
