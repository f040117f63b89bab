import { parseNames } from '../../transport/replay-headers.ts'
import type { DeadLetterReason, TransportHost } from '../../transport/transport.ts'
import type { RedisClient } from '../client/client.ts'
import type { RedisLink } from '../client/link.ts'
import type { StreamRole } from '../client/stream-role.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { mayBeMangled, readEntries, type StreamEntry } from '../wire/entry.ts'
import { rereadAsBytes } from '../wire/reread.ts'
import type { EntryOwner, HeldEntry } from './held-entry.ts'

/** What `recoverPendingMessages` found and did. */
export interface RecoveryResult {
  /** Pending entries looked at. */
  readonly checked: number
  /** Entries taken over. */
  readonly claimed: number
  /** Entries that every handler has handled now. */
  readonly reprocessed: number
  /** Entries that went to the dead letter queue. */
  readonly dlq: number
  /** Entries that are still pending: the bus was stopped, or lost them to another consumer. */
  readonly failed: number
}

export interface RecoveryRequest {
  readonly minIdleTimeMs: number
  /** Entries that were begun more often than one and so many retries go to the dead letters. */
  readonly maxRetries: number
  /** Entries per page. */
  readonly batchSize: number
}

export interface RedisRecoveryParts {
  readonly options: ResolvedRedisOptions
  readonly link: RedisLink
  readonly host: TransportHost
  readonly roles: readonly StreamRole[]
  readonly isHeld: (role: StreamRole, id: string) => boolean
  readonly whenRoom: () => Promise<void>
  readonly room: () => number
  readonly take: (role: StreamRole, entry: TakenEntry) => HeldEntry | undefined
}

/** An entry that the server gave to this consumer. */
export interface TakenEntry {
  readonly entry: StreamEntry
  /** Attempts that began, or may have begun. */
  readonly attemptsBegun: number
  readonly settledHandlers: readonly string[]
  /** No later than the server gave it out: from then on its lease runs. */
  readonly leasedAt: number
}

interface PendingRow {
  readonly id: string
  /** Attempts that began, or may have begun. */
  readonly count: number
}

interface Search {
  readonly minIdleMs: number
  readonly pageSize: number
  /** Only entries of this consumer. */
  readonly consumer?: string
}

/** Takes over pending entries of consumers that are gone, page by page, never more than there is room for. */
export class RedisRecovery {
  readonly #parts: RedisRecoveryParts

  constructor(parts: RedisRecoveryParts) {
    this.#parts = parts
  }

  /** What an earlier process of the same consumer name left behind, without waiting for its lease to run out. */
  async takeOwn(signal: AbortSignal): Promise<void> {
    const { batchSize, consumerName } = this.#parts.options
    await this.#takeAll({ minIdleMs: 0, pageSize: batchSize, consumer: consumerName }, signal)
  }

  /** What nobody has renewed for the length of a lease. */
  async sweep(signal: AbortSignal): Promise<void> {
    const { batchSize, pendingIdleMs } = this.#parts.options
    await this.#takeAll({ minIdleMs: pendingIdleMs, pageSize: batchSize }, signal)
  }

  async recover(request: RecoveryRequest, owner: EntryOwner): Promise<RecoveryResult> {
    const result = { checked: 0, claimed: 0, reprocessed: 0, dlq: 0, failed: 0 }
    const ends: Promise<void>[] = []
    const search = { minIdleMs: request.minIdleTimeMs, pageSize: request.batchSize }
    for (const role of this.#parts.roles) {
      for await (const page of this.#pages(role, search)) {
        result.checked += page.length
        const rows = page.filter(({ id }) => !this.#parts.isHeld(role, id))
        for (const taken of await this.#claim(role, rows, search)) {
          result.claimed += 1
          const { attemptsBegun } = taken
          const held = this.#parts.take(role, taken)
          if (held === undefined) continue
          if (attemptsBegun > request.maxRetries + 1) {
            await owner.deadLetter(held, deliveryLimit(attemptsBegun, this.#parts.options.consumerGroup))
            result.dlq += 1
          } else ends.push(countEnd(held, result))
        }
      }
    }
    await Promise.all(ends)
    return result
  }

  async #takeAll(search: Search, signal: AbortSignal): Promise<void> {
    let count = 0
    for (const role of this.#parts.roles) {
      for await (const page of this.#pages(role, search)) {
        const rows = page.filter(({ id }) => !this.#parts.isHeld(role, id))
        for (let start = 0; start < rows.length && !signal.aborted; ) {
          await this.#parts.whenRoom()
          const fitting = rows.slice(start, start + this.#parts.room())
          start += fitting.length
          if (signal.aborted || fitting.length === 0) break
          for (const taken of await this.#claim(role, fitting, search)) {
            this.#parts.take(role, taken)
            count += 1
          }
        }
        if (signal.aborted) break
      }
    }
    if (count > 0) this.#parts.host.notify({ type: 'pendingClaimed', count })
  }

  async *#pages(
    role: StreamRole,
    { minIdleMs, pageSize, consumer }: Search,
  ): AsyncGenerator<readonly PendingRow[]> {
    for (let from = '-'; ; ) {
      const idle = consumer === undefined ? ['IDLE', String(minIdleMs)] : []
      const filter = consumer === undefined ? [] : [consumer]
      const { consumerGroup } = this.#parts.options
      const reply = await this.#client().sendCommand([
        'XPENDING',
        role.key,
        consumerGroup,
        ...idle,
        from,
        '+',
        String(pageSize),
        ...filter,
      ])
      const rows = readPending(reply)
      if (rows.length > 0) yield rows
      const last = rows.at(-1)
      if (last === undefined || rows.length < pageSize) return
      from = `(${last.id}`
    }
  }

  /** Takes over those rows that are still idle, and reads their entries. */
  async #claim(
    role: StreamRole,
    rows: readonly PendingRow[],
    { minIdleMs, consumer }: Search,
  ): Promise<readonly TakenEntry[]> {
    if (rows.length === 0) return []
    const client = this.#client()
    const { consumerGroup, consumerName } = this.#parts.options
    const idle = consumer === undefined ? String(minIdleMs) : '0'
    const leasedAt = performance.now()
    const claim = async (these: readonly PendingRow[], ...more: readonly string[]) => {
      if (these.length === 0) return []
      const ids = these.map(({ id }) => id)
      // JUSTID leaves the count alone: an attempt is counted when it begins.
      const command = ['XCLAIM', role.key, consumerGroup, consumerName, idle, ...ids, ...more, 'JUSTID']
      const reply = await client.sendCommand(command)
      return Array.isArray(reply) ? reply.map(String) : []
    }
    // What a stop gave back as not begun counts as perhaps begun again, as if it had just been read: otherwise one that
    // kills its process would come for ever.
    const claimed = new Set([
      ...(await claim(rows.filter(({ count }) => count > 0))),
      ...(await claim(
        rows.filter(({ count }) => count === 0),
        'RETRYCOUNT',
        '1',
      )),
    ])
    const ours = rows.filter(({ id }) => claimed.has(id))
    // Redis 7 takes entries that no longer exist off the pending list instead of handing them over.
    const others = rows.filter(({ id }) => !claimed.has(id))
    await Promise.all(others.map(({ id }) => this.#fetch(client, role, id)))
    const entries = await Promise.all(ours.map(({ id }) => this.#fetch(client, role, id)))
    const states = await this.#states(client, ours)
    return ours.flatMap((row, index) => {
      const entry = entries[index]
      if (entry === undefined) return []
      return [{ entry, attemptsBegun: row.count, settledHandlers: states[index] ?? [], leasedAt }]
    })
  }

  /** @returns undefined, after telling of it, where the entry no longer exists. */
  async #fetch(client: RedisClient, role: StreamRole, id: string): Promise<StreamEntry | undefined> {
    const [entry] = readEntries(await client.sendCommand(['XRANGE', role.key, id, id]))
    if (entry !== undefined) return mayBeMangled(entry) ? rereadAsBytes(client, role.key, entry) : entry
    await client.sendCommand(['XACK', role.key, this.#parts.options.consumerGroup, id])
    const detail = `entry ${id} of ${role.key} was trimmed or deleted before it was handled`
    this.#parts.host.notify({ type: 'eventsLost', detail, count: 1 })
    return undefined
  }

  /** Which handlers had succeeded, of messages that had been retried. */
  async #states(client: RedisClient, rows: readonly PendingRow[]): Promise<readonly (readonly string[])[]> {
    const { keys, consumerGroup } = this.#parts.options
    return Promise.all(
      rows.map(async ({ id }) => {
        const state = await client.sendCommand(['GET', keys.retry(consumerGroup, id)])
        return typeof state === 'string' ? (parseNames(state) ?? []) : []
      }),
    )
  }

  #client(): RedisClient {
    return this.#parts.link.requireClient()
  }
}

function readPending(reply: unknown): readonly PendingRow[] {
  if (!Array.isArray(reply)) return []
  return reply.flatMap((row: unknown) => {
    const [id, , , count]: unknown[] = Array.isArray(row) ? row : []
    return id === undefined ? [] : [{ id: String(id), count: Number(count) }]
  })
}

function countEnd(
  entry: HeldEntry,
  result: { reprocessed: number; dlq: number; failed: number },
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  entry.onEnd = (outcome) => {
    if (outcome === 'acknowledged') result.reprocessed += 1
    else if (outcome === 'deadLettered') result.dlq += 1
    else result.failed += 1
    resolve()
  }
  return promise
}

function deliveryLimit(count: number, consumerGroup: string): DeadLetterReason {
  const now = new Date()
  return {
    kind: 'delivery_limit_exceeded',
    errorName: 'Error',
    errorMessage: `delivered ${count} times without being acknowledged`,
    handlerNames: [],
    settledHandlers: [],
    consumerGroup,
    attempts: count,
    firstFailedAt: now,
    failedAt: now,
  }
}
