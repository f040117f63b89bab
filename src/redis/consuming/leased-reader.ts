import { ResettablePromise } from '../../kit/resettable-promise.ts'
import { settledWithin } from '../../kit/time.ts'
import type { RedisClient } from '../client/client.ts'
import type { ConsumedStream, StreamLease } from '../client/consumed-stream.ts'
import { runScript } from '../client/scripts.ts'
import { readStreamState } from '../client/stream-state.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { readEntries } from '../wire/entry.ts'
import type { FinishedEntries } from './finished-entries.ts'
import type { EntrySource, ReadPage } from './group.ts'

/** Longest wait for new entries in one read, in milliseconds: a partition that was gained meanwhile is not in it. */
const MAX_BLOCK_MS = 1000

/** The last entry that was read under a lease. */
interface Position {
  readonly lease: StreamLease
  readonly id: string
}

/**
 * Reads new entries of the partitions that this consumer owns. The server checks the leases when it assigns entries, so a
 * read that waits cannot be XREADGROUP: it would get entries after the lease is lost. Instead, XREAD waits and assigns none.
 */
export class LeasedReader implements EntrySource {
  readonly #options: ResolvedRedisOptions
  readonly #finished: FinishedEntries
  readonly #readable: () => readonly ConsumedStream[]
  readonly #positions = new Map<ConsumedStream, Position>()
  readonly #change = new ResettablePromise()
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
    const pages = await this.#readNew(client, most)
    if (pages.length > 0) return pages
    if (!(await this.#waitForEntries(client))) return []
    return this.#readNew(client, most)
  }

  async #readNew(client: RedisClient, most: number): Promise<readonly ReadPage[]> {
    const { consumerGroup, consumerName, keys } = this.#options
    const streams = this.#rotated()
    if (streams.length === 0) return []
    const fences = streams.map(({ partition, lease }) => [String(partition), lease?.fence ?? ''])
    const leases = streams.map(({ lease }) => lease)
    const sentAt = performance.now()
    const reply = await runScript(
      client,
      'READ_LEASED',
      [keys.leases(consumerGroup), ...streams.map(({ key }) => key)],
      [consumerGroup, consumerName, String(most), ...fences.flat()],
    )
    if (!Array.isArray(reply)) return []
    return reply.flatMap((item: unknown) => {
      const [key, read]: unknown[] = Array.isArray(item) ? item : []
      const index = streams.findIndex((candidate) => candidate.key === key)
      const stream = streams[index]
      const lease = leases[index]
      if (stream === undefined || lease === undefined) return []
      const entries = readEntries(read)
      this.#finished.assignedAsNew(
        stream,
        entries.map(({ id: entryId }) => entryId),
      )
      const id = entries.at(-1)?.id
      if (id !== undefined) this.#positions.set(stream, { lease, id })
      return [{ stream, lease, entries, sentAt }]
    })
  }

  /** @returns false if there is nothing to read, because this consumer has no partition or a new one. */
  async #waitForEntries(client: RedisClient): Promise<boolean> {
    const streams = this.#readable()
    if (streams.length === 0) {
      await settledWithin(this.#change.promise, MAX_BLOCK_MS)
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
