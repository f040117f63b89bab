import { toError } from '../../errors.ts'
import { ResettablePromise } from '../../kit/resettable-promise.ts'
import { settledWithin } from '../../kit/time.ts'
import type { RedisClient } from '../client/client.ts'
import type { ConsumedStream, StreamLease } from '../client/consumed-stream.ts'
import { readStreamState } from '../client/stream-state.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { readEntries, type StreamEntry } from '../wire/entry.ts'
import { readHash } from '../wire/replies.ts'
import type { FinishedEntries } from './finished-entries.ts'
import type { EntrySource, ReadPage } from './group.ts'
import { ReadShares } from './read-shares.ts'

/** Longest wait for new entries in one read, in milliseconds: a partition that was gained meanwhile is not in it. */
const MAX_BLOCK_MS = 1000

/** Most reads in a row that change nothing because a lease of the group has changed. */
const MAX_ATTEMPTS = 4

/** The last entry that was read under a lease. */
interface Position {
  readonly lease: StreamLease
  readonly id: string
}

/** The leases of the group, by partition. The server watches them for this connection since before they were read. */
interface WatchedLeases {
  readonly client: RedisClient
  readonly fences: ReadonlyMap<string, unknown>
}

/** A stream of a read, with the lease that it was read under. */
interface LeasedStream {
  readonly stream: ConsumedStream
  readonly lease: StreamLease
}

/**
 * Reads new entries of the partitions that this consumer owns. The server assigns them only if no lease of the group has
 * changed since this consumer compared them (WATCH). So a read that waits cannot be XREADGROUP: it would get entries after
 * the lease is lost. Instead, XREAD waits and assigns none.
 */
export class LeasedReader implements EntrySource {
  readonly #options: ResolvedRedisOptions
  readonly #finished: FinishedEntries
  readonly #readable: () => readonly ConsumedStream[]
  readonly #positions = new Map<ConsumedStream, Position>()
  readonly #change = new ResettablePromise()
  readonly #shares = new ReadShares<ConsumedStream>()
  #watched: WatchedLeases | undefined
  /** The streams whose leases were valid at the last comparison. */
  #owned: ReadonlySet<ConsumedStream> = new Set()
  /** An error beside entries, which are delivered first, as they are assigned. The next read throws it. */
  #failure: Error | undefined
  #reads = 0

  /** @param readable - the streams whose leases this consumer holds. */
  constructor(
    options: ResolvedRedisOptions,
    finished: FinishedEntries,
    readable: () => readonly ConsumedStream[],
  ) {
    this.#options = options
    this.#finished = finished
    this.#readable = readable
  }

  /** Ends the wait of a reader without partitions. */
  changed(): void {
    this.#change.resolve()
    this.#change.reset()
  }

  async read(client: RedisClient, room: number): Promise<readonly ReadPage[]> {
    const most = Math.min(this.#options.batchSize, room)
    const change = this.#change.promise
    const pages = await this.#readNew(client, most)
    if (pages.length > 0) return pages
    if (!(await this.#waitForEntries(client, change))) return []
    return this.#readNew(client, most)
  }

  async #readNew(client: RedisClient, most: number): Promise<readonly ReadPage[]> {
    this.#throwFailure()
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
      const known = this.#watched?.client === client ? this.#watched : undefined
      // Without an await if they are known: the read is then sent before the page before it is handled.
      const { fences } = known ?? (await this.#watch(client))
      const readable = this.#rotated()
      const streams = readable.flatMap((stream) => {
        const { lease, partition } = stream
        return lease !== undefined && fences.get(String(partition)) === lease.fence ? [{ stream, lease }] : []
      })
      if (streams.length < readable.length && known !== undefined) {
        this.#watched = undefined // a lease is newer than what was read
        continue
      }
      this.#owned = new Set(streams.map(({ stream }) => stream))
      if (streams.length === 0) return []
      const pages = await this.#readWatched(client, streams, most)
      if (pages !== undefined) return pages
    }
    return []
  }

  /** The leases, read after the server has begun to watch them. */
  async #watch(client: RedisClient): Promise<WatchedLeases> {
    const leases = this.#options.keys.leases(this.#options.consumerGroup)
    const [, fences] = await Promise.all([
      client.sendCommand(['WATCH', leases]),
      client.sendCommand(['HGETALL', leases]),
    ])
    return this.#watches(client, fences)
  }

  #watches(client: RedisClient, reply: unknown): WatchedLeases {
    this.#watched = { client, fences: readHash(reply) }
    return this.#watched
  }

  /**
   * Reads in a transaction, and watches the leases again, all in one round trip.
   * @returns undefined if a lease has changed, and nothing was read.
   */
  async #readWatched(
    client: RedisClient,
    streams: readonly LeasedStream[],
    most: number,
  ): Promise<readonly ReadPage[] | undefined> {
    const { consumerGroup, consumerName, keys } = this.#options
    const shares = this.#shares.split(
      streams.map(({ stream }) => stream),
      most,
    )
    const reads = shares.map(({ count, streams: some }) => [
      ...['XREADGROUP', 'GROUP', consumerGroup, consumerName, 'COUNT', String(count), 'STREAMS'],
      ...some.map(({ key }) => key),
      ...some.map(() => '>'),
    ])
    const leases = keys.leases(consumerGroup)
    // What is watched now ends with the transaction, whatever its outcome.
    this.#watched = undefined
    const sentAt = performance.now()
    const commands = [['MULTI'], ...reads, ['EXEC'], ['WATCH', leases], ['HGETALL', leases]]
    const replies = await Promise.allSettled(commands.map((command) => client.sendCommand(command)))
    const failure = replies.find((reply) => reply.status === 'rejected')
    const values = replies.map((reply) => (reply.status === 'fulfilled' ? reply.value : undefined))
    if (failure === undefined) this.#watches(client, values.at(-1))
    else this.#failure = toError(failure.reason)
    const result: unknown = values.at(reads.length + 1)
    const pages = Array.isArray(result) ? this.#pages(result, streams, sentAt) : []
    if (pages.length === 0) this.#throwFailure()
    if (!Array.isArray(result)) return undefined
    for (const { count, streams: some } of shares) {
      for (const stream of some) {
        const page = pages.find((candidate) => candidate.stream === stream)
        this.#shares.note(stream, page?.entries.length ?? 0, count)
      }
    }
    return pages
  }

  /** The entries of all reads of a transaction. */
  #pages(result: readonly unknown[], streams: readonly LeasedStream[], sentAt: number): readonly ReadPage[] {
    const pages: ReadPage[] = []
    for (const reply of result) {
      if (reply instanceof Error) this.#failure = reply
      for (const item of Array.isArray(reply) ? reply : []) {
        const [key, read]: unknown[] = Array.isArray(item) ? item : []
        const found = streams.find(({ stream }) => stream.key === key)
        if (found !== undefined) pages.push(this.#page(found, readEntries(read), sentAt))
      }
    }
    return pages
  }

  #throwFailure(): void {
    const failure = this.#failure
    this.#failure = undefined
    if (failure !== undefined) throw failure
  }

  #page({ stream, lease }: LeasedStream, entries: readonly StreamEntry[], sentAt: number): ReadPage {
    this.#finished.assignedAsNew(
      stream,
      entries.map(({ id: entryId }) => entryId),
    )
    const id = entries.at(-1)?.id
    if (id !== undefined) this.#positions.set(stream, { lease, id })
    return { stream, lease, entries, sentAt }
  }

  /**
   * @param change - resolves when the partitions have changed since the read began.
   * @returns false if there is nothing to read, because this consumer has no partition.
   */
  async #waitForEntries(client: RedisClient, change: Promise<void>): Promise<boolean> {
    // The end of a stream without a valid lease would be read again and again.
    const streams = this.#readable().filter((stream) => this.#owned.has(stream))
    if (streams.length === 0) {
      await settledWithin(change, MAX_BLOCK_MS)
      return false
    }
    const ids = await Promise.all(streams.map((stream) => this.#positionOf(client, stream)))
    const blockMs = String(Math.min(this.#options.blockMs, MAX_BLOCK_MS))
    const keys = streams.map(({ key }) => key)
    await client.sendCommand(['XREAD', 'COUNT', '1', 'BLOCK', blockMs, 'STREAMS', ...keys, ...ids])
    return true
  }

  async #positionOf(client: RedisClient, stream: ConsumedStream): Promise<string> {
    const { lease } = stream
    const known = this.#positions.get(stream)
    if (lease === undefined || known?.lease === lease) return known?.id ?? '$'
    const state = await readStreamState(client, stream.key)
    const group = state?.groups.find(({ name }) => name === this.#options.consumerGroup)
    const id = group?.lastDeliveredId ?? '0-0'
    this.#positions.set(stream, { lease, id })
    return id
  }

  /** Each partition is the first in turn, because a read may be full before the last one. */
  #rotated(): readonly ConsumedStream[] {
    const streams = this.#readable()
    this.#reads += 1
    const first = streams.length === 0 ? 0 : this.#reads % streams.length
    return [...streams.slice(first), ...streams.slice(0, first)]
  }
}
