import { toError } from '../../errors.ts'
import type { RedisClient } from '../client/client.ts'
import type { ConsumedStream, StreamLease } from '../client/consumed-stream.ts'
import { runScript } from '../client/scripts.ts'
import { commandError } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { readEntries, type StreamEntry } from '../wire/entry.ts'
import { readPairs } from '../wire/replies.ts'

/** A consumer that owns nothing counts as dead after this many leases without a command, and not before two reads. */
const DEAD_AFTER_LEASES = 3

/** Entries of one stream, as one read returned them. */
export interface ReadPage {
  readonly stream: ConsumedStream
  /** The lease under which they were read, if the group has leases. */
  readonly lease: StreamLease | undefined
  readonly entries: readonly StreamEntry[]
  /** When the read was sent, by `performance.now()`: the server assigned the entries later. */
  readonly sentAt: number
}

/** The number of entries on all pages. */
export function countOf(pages: readonly ReadPage[]): number {
  return pages.reduce((sum, { entries }) => sum + entries.length, 0)
}

/** Reads new entries for one consumer. */
export interface EntrySource {
  /** @param room - the number of entries that fit. */
  read(client: RedisClient, room: number): Promise<readonly ReadPage[]>
}

/** The commands of one consumer to its group, on every stream that the group reads. */
export class RedisGroup implements EntrySource {
  readonly #options: ResolvedRedisOptions
  readonly #streams: readonly ConsumedStream[]

  constructor(options: ResolvedRedisOptions, streams: readonly ConsumedStream[]) {
    this.#options = options
    this.#streams = streams
  }

  /**
   * Creates the group and this consumer where they are missing.
   * @param startFrom - where a new group starts in the stream of events. One that was lost starts at the earliest entry.
   * @returns the keys of the streams that had no group.
   */
  async declare(
    client: RedisClient,
    startFrom: ResolvedRedisOptions['startFrom'],
  ): Promise<readonly string[]> {
    const { consumerGroup, consumerName, address, ordering } = this.#options
    const created: string[] = []
    const declareOn = async ({ key, deletesSettled }: ConsumedStream) => {
      const id = !deletesSettled && startFrom === 'latest' ? '$' : '0'
      const creation = client.sendCommand(['XGROUP', 'CREATE', key, consumerGroup, id, 'MKSTREAM'])
      // A read creates the consumer only with its first entry, and `getStreamInfo` counts consumers.
      const consumer =
        ordering === 'none'
          ? client.sendCommand(['XGROUP', 'CREATECONSUMER', key, consumerGroup, consumerName])
          : undefined
      // If the group cannot be created, that error is reported.
      consumer?.catch(() => undefined)
      try {
        await creation
        created.push(key)
      } catch (error) {
        if (!toError(error).message.startsWith('BUSYGROUP'))
          throw commandError(address, 'XGROUP CREATE', error)
      }
      await consumer
    }
    // The server gets all commands at once, and runs them in this order.
    await Promise.all(this.#streams.map(declareOn))
    return created
  }

  /**
   * Reads entries that the group has not read. If there are none, it blocks for `blockMs`, and at most for half a
   * lease: the lease of an entry counts from the moment the read was sent.
   */
  async read(client: RedisClient, room: number): Promise<readonly ReadPage[]> {
    const { consumerGroup, consumerName, batchSize, blockMs, pendingIdleMs, partitions } = this.#options
    const keys = this.#streams.map(({ key }) => key)
    const sentAt = performance.now()
    const reply = await client.sendCommand([
      'XREADGROUP',
      'GROUP',
      consumerGroup,
      consumerName,
      'COUNT',
      // Redis applies the count to each stream.
      String(Math.max(1, Math.floor(Math.min(batchSize, room / partitions)))),
      'BLOCK',
      String(Math.min(blockMs, Math.ceil(pendingIdleMs / 2))),
      'STREAMS',
      ...keys,
      ...keys.map(() => '>'),
    ])
    if (!Array.isArray(reply)) return []
    return reply.flatMap((item) => {
      const [key, entries]: unknown[] = Array.isArray(item) ? item : []
      const stream = this.#streams.find((candidate) => candidate.key === key)
      return stream === undefined ? [] : [{ stream, lease: undefined, entries: readEntries(entries), sentAt }]
    })
  }

  /** Removes dead consumers: they own nothing, and have sent no command for several leases. */
  async removeDeadConsumers(client: RedisClient): Promise<void> {
    const { consumerGroup, consumerName, blockMs, pendingIdleMs, ordering } = this.#options
    const silence = Math.max(2 * blockMs, DEAD_AFTER_LEASES * pendingIdleMs)
    for (const { key, lease } of this.#streams) {
      // In an ordered group, the owner of a partition does it.
      if (ordering === 'aggregate' && lease === undefined) continue
      const consumers = await client.sendCommand(['XINFO', 'CONSUMERS', key, consumerGroup])
      for (const { name, pending, idle } of readConsumers(consumers)) {
        if (name === consumerName || pending > 0 || idle < silence) continue
        await runScript(client, 'REMOVE_CONSUMER', [key], [consumerGroup, name])
      }
    }
  }

  /**
   * Removes a consumer that died or stopped, if all its entries are taken over.
   */
  async removeDeparted(client: RedisClient, name: string): Promise<void> {
    const { consumerGroup, keys } = this.#options
    for (const { key } of this.#streams) {
      await runScript(client, 'REMOVE_CONSUMER', [key], [consumerGroup, name])
      const rows = await client.sendCommand(['XPENDING', key, consumerGroup, '-', '+', '1', name])
      if (Array.isArray(rows) && rows.length > 0) return
    }
    await client.sendCommand(['SREM', keys.departed(consumerGroup), name])
  }

  /** Removes this consumer. */
  async leave(client: RedisClient): Promise<void> {
    const { consumerGroup, consumerName } = this.#options
    for (const { key } of this.#streams)
      await runScript(client, 'REMOVE_CONSUMER', [key], [consumerGroup, consumerName])
  }
}

interface ConsumerInfo {
  readonly name: string
  readonly pending: number
  readonly idle: number
}

/** Rows of XINFO CONSUMERS. */
export function readConsumers(reply: unknown): readonly ConsumerInfo[] {
  if (!Array.isArray(reply)) return []
  return reply.map((row: unknown) => {
    const fields = readPairs(row)
    return {
      name: String(fields.get('name')),
      pending: Number(fields.get('pending')),
      idle: Number(fields.get('idle')),
    }
  })
}
