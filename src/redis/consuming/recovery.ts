import { counted } from '../../kit/counted.ts'
import { IdleCounter } from '../../kit/idle-counter.ts'
import { sleep } from '../../kit/time.ts'
import type { DeadLetterReason, Intake, TransportHost } from '../../transport/transport.ts'
import type { ConsumedStream } from '../client/consumed-stream.ts'
import type { RedisLink } from '../client/link.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import type { EntrySizes } from './entry-sizes.ts'
import type { HeldEntries, OwnedEntry } from './held-entries.ts'
import type { EntryOwner, HeldEntry } from './held-entry.ts'
import { type PendingRow, type PendingSearch, RedisPendingEntries } from './pending-entries.ts'

/** The outcome of `recoverPendingMessages`. */
export interface RecoveryResult {
  /** Pending entries found. */
  readonly checked: number
  /** Entries taken over. */
  readonly claimed: number
  /** Entries that every handler has now handled. */
  readonly reprocessed: number
  /** Entries moved to the dead letter queue. */
  readonly dlq: number
  /** Entries that are still pending: the bus was stopped, the group paused, or another consumer took them over. */
  readonly failed: number
}

type Counts = { -readonly [K in keyof RecoveryResult]: number }

export interface RecoveryRequest {
  readonly minIdleTimeMs: number
  /** Entries with more attempts than one plus this many retries are dead-lettered. */
  readonly maxRetries: number
  /** Entries per page. */
  readonly batchSize: number
}

export interface RedisRecoveryParts {
  readonly options: ResolvedRedisOptions
  readonly commands: RedisLink
  readonly host: TransportHost
  readonly intake: Intake
  readonly streams: readonly ConsumedStream[]
  readonly held: HeldEntries
  readonly sizes: EntrySizes
  /** Aborts when nothing more may be taken over. */
  readonly stopped: AbortSignal
}

/** Most bytes that are read at once if every claimed entry is as large as allowed. */
const MAX_CLAIMED_BYTES = 128 * 1024 * 1024

/** Wait before the room is checked again, in milliseconds. */
const ROOM_CHECK_MS = 1

/** Takes over pending entries of dead consumers page by page, and never more than the pipeline has room for. */
export class RedisRecovery {
  readonly #parts: RedisRecoveryParts
  readonly #pending: RedisPendingEntries
  /** The calls of `recover` that may still take over entries. */
  readonly #scans = new IdleCounter()

  constructor(parts: RedisRecoveryParts) {
    this.#parts = parts
    this.#pending = new RedisPendingEntries(parts)
  }

  /** True if no consumer of the group has pending entries. */
  async hasNothing(): Promise<boolean> {
    const { commands, options, streams } = this.#parts
    const client = commands.requireClient()
    const request = ({ key }: ConsumedStream) => client.sendCommand(['XPENDING', key, options.consumerGroup])
    const summaries = await Promise.all(streams.map(request))
    return summaries.every((summary) => Array.isArray(summary) && Number(summary[0]) === 0)
  }

  /** Takes over what an earlier process of the same consumer name left, without waiting for its leases to expire. */
  async takeOwn(signal: AbortSignal): Promise<void> {
    const { batchSize, consumerName } = this.#parts.options
    await this.#takeAll({ minIdleMs: 0, pageSize: batchSize, consumer: consumerName }, signal)
  }

  /** Takes over what a consumer left that died or stopped. */
  async takeDeparted(consumer: string, signal: AbortSignal): Promise<void> {
    const { batchSize } = this.#parts.options
    const search = { minIdleMs: 0, pageSize: batchSize, consumer, isDeparted: true }
    await this.#takeAll(search, signal)
  }

  /** Takes over all pending entries of a partition that this consumer owns, in the order of the stream. */
  async takePartition(streams: readonly ConsumedStream[], signal: AbortSignal): Promise<void> {
    const { batchSize } = this.#parts.options
    await this.#takeAll({ minIdleMs: 0, pageSize: batchSize }, signal, streams)
  }

  /** Takes over entries whose leases have expired. */
  async sweep(signal: AbortSignal): Promise<void> {
    const { batchSize, pendingIdleMs } = this.#parts.options
    await this.#takeAll({ minIdleMs: pendingIdleMs, pageSize: batchSize }, signal)
  }

  /** Resolves when no call of `recover` takes over entries. */
  whenScanned(): Promise<void> {
    return this.#scans.whenIdle()
  }

  /** Takes over every entry that matches. Resolves when each of them is settled or given up. */
  async recover(request: RecoveryRequest, owner: EntryOwner): Promise<RecoveryResult> {
    const result = { checked: 0, claimed: 0, reprocessed: 0, dlq: 0, failed: 0 }
    await Promise.all(await this.#scans.track(this.#scan(request, owner, result)))
    return result
  }

  /** @returns a promise for the end of each entry that was taken over. */
  async #scan(
    request: RecoveryRequest,
    owner: EntryOwner,
    result: Counts,
  ): Promise<readonly Promise<void>[]> {
    const { options, stopped } = this.#parts
    const ends: Promise<void>[] = []
    const search = { minIdleMs: request.minIdleTimeMs, pageSize: request.batchSize }
    for (const stream of this.#recoverable) {
      for await (const page of this.#pending.pages(stream, search)) {
        result.checked += page.length
        for await (const owned of this.#claimed(stream, page, search, stopped)) {
          result.claimed += 1
          const entry = this.#take(stream, owned)
          if (entry === undefined) continue
          if (owned.attemptsStarted > request.maxRetries + 1) {
            await owner.deadLetter(entry, deliveryLimit(owned.attemptsStarted, options.consumerGroup))
            result.dlq += 1
          } else ends.push(countEnd(entry, result))
        }
        if (stopped.aborted) return ends
      }
    }
    return ends
  }

  /** In an ordered group, the owner of a partition has its pending entries, however long it holds them. */
  get #recoverable(): readonly ConsumedStream[] {
    const { streams, options } = this.#parts
    if (options.ordering === 'none') return streams
    return streams.filter(({ lease }) => lease?.state === 'held')
  }

  async #takeAll(
    search: PendingSearch,
    signal: AbortSignal,
    streams: readonly ConsumedStream[] = this.#parts.streams,
  ): Promise<void> {
    const { host } = this.#parts
    let count = 0
    for (const stream of streams) {
      for await (const page of this.#pending.pages(stream, search)) {
        for await (const owned of this.#claimed(stream, page, search, signal)) {
          this.#take(stream, owned)
          count += 1
        }
        if (signal.aborted) break
      }
    }
    if (count > 0) host.notify({ type: 'pendingClaimed', count })
  }

  /** Takes over entries of a page that are not held, as far as the pipeline has room for them. */
  async *#claimed(
    stream: ConsumedStream,
    page: readonly PendingRow[],
    search: PendingSearch,
    signal: AbortSignal,
  ): AsyncIterable<OwnedEntry> {
    const { intake, sizes, options } = this.#parts
    const most = Math.max(1, Math.floor(MAX_CLAIMED_BYTES / options.maxEntryBytes))
    const rows = this.#notHeld(stream, page)
    for (let start = 0; start < rows.length && !signal.aborted; ) {
      await intake.whenRoom()
      if (signal.aborted) return
      const count = Math.min(most, sizes.fitting(intake.room, intake.roomBytes))
      const fitting = rows.slice(start, start + count)
      start += fitting.length
      if (fitting.length === 0) {
        // Another delivery took the room, or the intake is closing. A later entry must not be claimed before these.
        if (!(await sleep(ROOM_CHECK_MS, signal))) return
        continue
      }
      const owned = await this.#pending.claim(stream, fitting, search)
      sizes.note(owned.map(({ entry }) => entry))
      yield* owned
    }
  }

  #notHeld(stream: ConsumedStream, page: readonly PendingRow[]): readonly PendingRow[] {
    return page.filter(({ id }) => !this.#parts.held.has(stream, id))
  }

  #take(stream: ConsumedStream, owned: OwnedEntry): HeldEntry | undefined {
    const entry = this.#parts.held.hold(stream, owned)
    if (entry !== undefined) this.#parts.intake.deliver(entry)
    return entry
  }
}

/** Resolves when the entry has ended, and counts how. */
function countEnd(entry: HeldEntry, result: Counts): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  entry.onEnd = (end) => {
    if (end === 'acknowledged') result.reprocessed += 1
    else if (end === 'deadLettered') result.dlq += 1
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
    errorMessage: `delivered ${counted(count, 'time')} without being acknowledged`,
    handlerNames: [],
    settledHandlers: [],
    consumerGroup,
    attempts: count,
    firstFailedAt: now,
    failedAt: now,
  }
}
