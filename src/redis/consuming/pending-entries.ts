import { parseNames } from '../../transport/replay-headers.ts'
import type { TransportHost } from '../../transport/transport.ts'
import type { RedisClient } from '../client/client.ts'
import type { ConsumedStream } from '../client/consumed-stream.ts'
import type { RedisLink } from '../client/link.ts'
import { runFenced } from '../client/scripts.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { mayBeMangled, readEntries, type StreamEntry } from '../wire/entry.ts'
import { rereadAsBytes } from '../wire/reread.ts'
import { messageIdOf, type OwnedEntry } from './held-entries.ts'

/** A row of XPENDING. */
export interface PendingRow {
  readonly id: string
  /** Attempts that started, or may have started. */
  readonly attempts: number
}

export interface PendingSearch {
  /**
   * Only entries whose lease was not renewed for this long, in milliseconds. Not applied to a consumer's own entries.
   */
  readonly minIdleMs: number
  readonly pageSize: number
  /** Only entries of this consumer. */
  readonly consumer?: string
  /** True for a consumer that died or stopped, and whose entries other consumers may claim, too. */
  readonly isDeparted?: boolean
}

export interface RedisPendingEntriesParts {
  readonly options: ResolvedRedisOptions
  readonly commands: RedisLink
  readonly host: TransportHost
}

/** Finds and claims pending entries: delivered to a consumer of the group, and not acknowledged. */
export class RedisPendingEntries {
  readonly #parts: RedisPendingEntriesParts

  constructor(parts: RedisPendingEntriesParts) {
    this.#parts = parts
  }

  /** The pending entries that match, oldest first, page by page. */
  async *pages(
    stream: ConsumedStream,
    { minIdleMs, pageSize, consumer }: PendingSearch,
  ): AsyncGenerator<readonly PendingRow[]> {
    const { consumerGroup } = this.#parts.options
    const idle = consumer === undefined ? ['IDLE', String(minIdleMs)] : []
    const filter = consumer === undefined ? [] : [consumer]
    for (let from = '-'; ; ) {
      const range = [from, '+', String(pageSize)]
      const command = ['XPENDING', stream.key, consumerGroup, ...idle, ...range, ...filter]
      const rows = readPending(await this.#parts.commands.requireClient().sendCommand(command))
      if (rows.length > 0) yield rows
      const last = rows.at(-1)
      if (last === undefined || rows.length < pageSize) return
      from = `(${last.id}`
    }
  }

  /** Claims the rows that still match, and reads their entries. Reports entries that no longer exist as lost. */
  async claim(
    stream: ConsumedStream,
    rows: readonly PendingRow[],
    search: PendingSearch,
  ): Promise<readonly OwnedEntry[]> {
    if (rows.length === 0) return []
    const client = this.#parts.commands.requireClient()
    const leasedAt = performance.now()
    const { lease } = stream
    const claimed = await this.#claimIds(client, stream, rows, search)
    if (claimed === undefined) return []
    const ours = rows.filter(({ id }) => claimed.has(id))
    // Redis 7 removes entries that no longer exist from the pending list instead of claiming them.
    const others = rows.filter(({ id }) => !claimed.has(id))
    await Promise.all(others.map(({ id }) => this.#fetch(client, stream, id)))
    const entries = await Promise.all(ours.map(({ id }) => this.#fetch(client, stream, id)))
    const settled = await Promise.all(
      ours.map(({ id }) => this.#settledHandlers(client, messageIdOf(stream, id))),
    )
    return ours.flatMap(({ attempts: attemptsStarted }, index) => {
      const entry = entries[index]
      if (entry === undefined) return []
      return [{ entry, lease, attemptsStarted, settledHandlers: settled[index] ?? [], leasedAt }]
    })
  }

  /**
   * An entry that was released before its first attempt has the delivery count 0. The claim sets it to 1, as a read
   * does, because an attempt may start before it is recorded. An entry that always kills its process thus reaches its
   * limit.
   * @returns undefined if the partition belongs to another consumer by now.
   */
  async #claimIds(
    client: RedisClient,
    stream: ConsumedStream,
    rows: readonly PendingRow[],
    search: PendingSearch,
  ): Promise<ReadonlySet<string> | undefined> {
    const { minIdleMs, consumer } = search
    if (stream.lease !== undefined || search.isDeparted === true)
      return this.#claimFenced(client, stream, rows, search)
    const { key } = stream
    const { consumerGroup, consumerName } = this.#parts.options
    const idle = consumer === undefined ? String(minIdleMs) : '0'
    const claimed = new Set<string>()
    const claim = async (part: readonly PendingRow[], ...options: readonly string[]) => {
      if (part.length === 0) return
      const ids = part.map(({ id }) => id)
      // JUSTID leaves the delivery count alone: an attempt is counted when it starts.
      const command = ['XCLAIM', key, consumerGroup, consumerName, idle, ...ids, ...options, 'JUSTID']
      const reply = await client.sendCommand(command)
      if (Array.isArray(reply)) for (const id of reply) claimed.add(String(id))
    }
    await claim(rows.filter(({ attempts }) => attempts > 0))
    await claim(
      rows.filter(({ attempts }) => attempts === 0),
      'RETRYCOUNT',
      '1',
    )
    return claimed
  }

  /** Claims entries of an owned partition, or of a consumer that departed, in one step with the check of that. */
  async #claimFenced(
    client: RedisClient,
    { key, partition, lease }: ConsumedStream,
    rows: readonly PendingRow[],
    { consumer = '' }: PendingSearch,
  ): Promise<ReadonlySet<string> | undefined> {
    const { consumerGroup, consumerName, keys } = this.#parts.options
    const reply = await runFenced(
      client,
      'CLAIM',
      { leases: keys.leases(consumerGroup), partition, lease },
      [key, keys.departed(consumerGroup)],
      [consumerGroup, consumerName, consumer, ...rows.flatMap(({ id, attempts }) => [id, String(attempts)])],
    )
    return Array.isArray(reply) ? new Set(reply.map(String)) : undefined
  }

  /** @returns undefined, after a notice, if the entry no longer exists. */
  async #fetch(client: RedisClient, { key }: ConsumedStream, id: string): Promise<StreamEntry | undefined> {
    const [entry] = readEntries(await client.sendCommand(['XRANGE', key, id, id]))
    if (entry !== undefined) return mayBeMangled(entry) ? rereadAsBytes(client, key, entry) : entry
    await client.sendCommand(['XACK', key, this.#parts.options.consumerGroup, id])
    const detail = `entry ${id} of ${key} was trimmed or deleted before it was handled`
    this.#parts.host.notify({ type: 'eventsLost', detail, count: 1 })
    return undefined
  }

  /** The handlers that had succeeded, from the retry state; none if the entry was never retried. */
  async #settledHandlers(client: RedisClient, id: string): Promise<readonly string[]> {
    const { keys, consumerGroup } = this.#parts.options
    const state = await client.sendCommand(['GET', keys.retry(consumerGroup, id)])
    return typeof state === 'string' ? (parseNames(state) ?? []) : []
  }
}

function readPending(reply: unknown): readonly PendingRow[] {
  if (!Array.isArray(reply)) return []
  return reply.flatMap((row: unknown) => {
    const [id, , , count]: unknown[] = Array.isArray(row) ? row : []
    return id === undefined ? [] : [{ id: String(id), attempts: Number(count) }]
  })
}
