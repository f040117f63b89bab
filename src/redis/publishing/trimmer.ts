import { counted } from '../../kit/counted.ts'
import { sleep } from '../../kit/time.ts'
import type { TransportHost } from '../../transport/transport.ts'
import type { RedisClient } from '../client/client.ts'
import { countUpTo } from '../client/count-entries.ts'
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
 * Trims the streams to their limits. Unless `trim` is `'unsafe'`, it keeps what any group has not acknowledged. It reports a
 * group that holds trimming back, and entries that it removes before a group has read them.
 */
export class RedisTrimmer {
  readonly #parts: RedisTrimmerParts
  readonly #stopped = new AbortController()
  readonly #heldBack = new Map<string, Needed & { readonly trims: number }>()

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
        if (client !== undefined) for (const stream of options.keys.streams) await this.#trim(client, stream)
      } catch (error) {
        host.notify({ type: 'readFailed', error: commandError(options.address, 'XTRIM', error) })
      }
    }
  }

  async #trim(client: RedisClient, key: string): Promise<void> {
    const { trim, maxAgeMs } = this.#parts.options
    const state = await readStreamState(client, key)
    if (state === undefined) return
    const needed = trim === 'unsafe' ? undefined : await this.#oldestNeeded(client, key, state.groups)
    const excess = await this.#excessOf(client, key, state.stream)
    const oldest = maxAgeMs === undefined ? undefined : `${Date.now() - maxAgeMs}-0`
    const read = await this.#readOf(client, key, state.groups, { excess, oldest })
    let removed = 0
    if (oldest !== undefined) {
      const limit = needed !== undefined && isBefore(needed.id, oldest) ? needed.id : oldest
      removed += Number(await client.sendCommand(['XTRIM', key, 'MINID', '~', limit]))
    }
    if (excess > 0) removed += await this.#trimLength(client, key, needed, excess)
    this.#reportHeldBack(key, state.stream, needed, excess > removed ? undefined : oldest, excess - removed)
    if (removed > 0) this.#reportUnread(key, state, removed, read)
  }

  /** Each partition may have its part of `maxLength`. */
  get #maxLength(): number | undefined {
    const { maxLength, partitions } = this.#parts.options
    return maxLength === undefined ? undefined : Math.ceil(maxLength / partitions)
  }

  async #excessOf(client: RedisClient, key: string, { length }: StreamState): Promise<number> {
    const maxLength = this.#maxLength
    if (maxLength === undefined) return 0
    const isTrimmed = this.#parts.options.maxAgeMs !== undefined
    const current = isTrimmed ? Number(await client.sendCommand(['XLEN', key])) : length
    return current - maxLength
  }

  async #trimLength(
    client: RedisClient,
    key: string,
    needed: Needed | undefined,
    excess: number,
  ): Promise<number> {
    const command =
      needed === undefined
        ? ['XTRIM', key, 'MAXLEN', '~', String(this.#maxLength)]
        : // LIMIT stops at the wanted length, MINID at the oldest entry that a group still needs.
          ['XTRIM', key, 'MINID', '~', needed.id, 'LIMIT', String(excess)]
    return Number(await client.sendCommand(command))
  }

  /** The oldest id that a group has not acknowledged; undefined if there is no group. */
  async #oldestNeeded(
    client: RedisClient,
    key: string,
    groups: readonly GroupState[],
  ): Promise<Needed | undefined> {
    let oldest: Needed | undefined
    for (const group of groups) {
      const id = await oldestOf(client, key, group)
      if (oldest === undefined || isBefore(id, oldest.id)) oldest = { id, group: group.name }
    }
    return oldest
  }

  /** Reports a group that acknowledges nothing while it keeps entries beyond the limits. The group may be abandoned. */
  #reportHeldBack(
    key: string,
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
      this.#heldBack.delete(key)
      return
    }
    const last = this.#heldBack.get(key)
    const isSame = last?.group === needed.group && last.id === needed.id
    const trims = isSame ? last.trims + 1 : 1
    this.#heldBack.set(key, { ...needed, trims })
    if (trims !== REPORT_AFTER_TRIMS) return
    const detail =
      `The group ${needed.group} has not acknowledged entry ${needed.id}, so ${key} ` +
      'cannot be trimmed further. Start its consumers, or delete the group with XGROUP DESTROY.'
    this.#parts.host.notify({ type: 'trimmingHeldBack', group: needed.group, detail })
  }

  /**
   * For each group whose lag Redis does not report, how many of the entries that this trim may remove the group has read.
   * Before Redis 7.0, only counting them shows it.
   */
  async #readOf(
    client: RedisClient,
    key: string,
    groups: readonly GroupState[],
    { excess, oldest }: { readonly excess: number; readonly oldest: string | undefined },
  ): Promise<ReadonlyMap<string, number>> {
    const read = new Map<string, number>()
    // Safe trimming removes nothing that a group has not read.
    if (this.#parts.options.trim !== 'unsafe') return read
    for (const { name, lag, lastDeliveredId: last } of groups) {
      if (lag !== null) continue
      const lastOld = oldest !== undefined && isBefore(oldest, last) ? oldest : last
      const old = oldest === undefined ? 0 : await countUpTo(client, key, lastOld, Number.POSITIVE_INFINITY)
      read.set(name, Math.max(old, await countUpTo(client, key, last, excess)))
    }
    return read
  }

  /** Reports removed entries that a group, or any group, had not read. */
  #reportUnread(
    key: string,
    { stream, groups }: StreamWithGroups,
    removed: number,
    known: ReadonlyMap<string, number>,
  ): void {
    if (groups.length === 0) {
      this.#reportLost(
        `${counted(removed, 'entry was', 'entries were')} trimmed from ${key} before any group had read them`,
        removed,
      )
    }
    for (const { name, lag } of groups) {
      const read = lag === null ? known.get(name) : Math.max(0, stream.length - lag)
      if (read === undefined) continue
      const count = removed - read
      if (count <= 0) continue
      this.#reportLost(
        `${counted(count, 'entry was', 'entries were')} trimmed from ${key} before the group ${name} had read them`,
        count,
      )
    }
  }

  #reportLost(detail: string, count: number): void {
    this.#parts.host.notify({ type: 'eventsLost', detail, count })
  }
}

async function oldestOf(
  client: RedisClient,
  key: string,
  { name, lastDeliveredId }: GroupState,
): Promise<string> {
  const summary = await client.sendCommand(['XPENDING', key, name])
  const [count, first]: unknown[] = Array.isArray(summary) ? summary : []
  // If nothing is pending, every delivered entry is acknowledged.
  return Number(count) > 0 ? String(first) : nextId(lastDeliveredId)
}

function nextId(id: string): string {
  const [time = '0', sequence = '0'] = id.split('-')
  return `${time}-${BigInt(sequence) + 1n}`
}
