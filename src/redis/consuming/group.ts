import { toError } from '../../errors.ts'
import type { RedisClient } from '../client/client.ts'
import { runScript } from '../client/scripts.ts'
import type { StreamRole } from '../client/stream-role.ts'
import { commandError } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { readEntries, type StreamEntry } from '../wire/entry.ts'
import { readPairs } from '../wire/replies.ts'

/** A consumer that owns nothing and has been silent for so many leases, and for two reads, is removed. */
const FORGET_AFTER_LEASES = 3

/** Entries of one stream, as one read returned them. */
export interface ReadPage {
  readonly role: StreamRole
  readonly entries: readonly StreamEntry[]
  /** When it was asked for: none of them was given out before. */
  readonly askedAt: number
}

/** Entries of all pages. */
export function countOf(pages: readonly ReadPage[]): number {
  return pages.reduce((sum, { entries }) => sum + entries.length, 0)
}

/** What one consumer asks of its group on the streams that it reads. */
export class RedisGroup {
  readonly #options: ResolvedRedisOptions
  readonly #roles: readonly StreamRole[]

  constructor(options: ResolvedRedisOptions, roles: readonly StreamRole[]) {
    this.#options = options
    this.#roles = roles
  }

  /** @returns what was not there before. */
  async declare(client: RedisClient): Promise<readonly string[]> {
    const { consumerGroup, consumerName, address } = this.#options
    const made: string[] = []
    for (const { key } of this.#roles) {
      try {
        await client.sendCommand(['XGROUP', 'CREATE', key, consumerGroup, '0', 'MKSTREAM'])
        made.push(key)
      } catch (error) {
        if (!toError(error).message.startsWith('BUSYGROUP'))
          throw commandError(address, 'XGROUP CREATE', error)
      }
      // Otherwise a consumer shows up only with its first entry.
      await client.sendCommand(['XGROUP', 'CREATECONSUMER', key, consumerGroup, consumerName])
    }
    return made
  }

  /**
   * Reads what nobody of the group was given yet. Where there is none it blocks for `blockMs`, and no longer than half a
   * lease, so that what comes at the end is not too old to be begun.
   */
  async read(client: RedisClient, room: number): Promise<readonly ReadPage[]> {
    const { consumerGroup, consumerName, batchSize, blockMs, pendingIdleMs } = this.#options
    const keys = this.#roles.map(({ key }) => key)
    const askedAt = performance.now()
    const reply = await client.sendCommand([
      'XREADGROUP',
      'GROUP',
      consumerGroup,
      consumerName,
      'COUNT',
      String(Math.min(batchSize, room)),
      'BLOCK',
      String(Math.min(blockMs, Math.ceil(pendingIdleMs / 2))),
      'STREAMS',
      ...keys,
      ...keys.map(() => '>'),
    ])
    if (!Array.isArray(reply)) return []
    return reply.flatMap((item) => {
      const [key, entries]: unknown[] = Array.isArray(item) ? item : []
      const role = this.#roles.find((candidate) => candidate.key === key)
      return role === undefined ? [] : [{ role, entries: readEntries(entries), askedAt }]
    })
  }

  /** Removes the consumers that own nothing and are gone. */
  async forgetTheDead(client: RedisClient): Promise<void> {
    const { consumerGroup, consumerName, blockMs, pendingIdleMs } = this.#options
    const silence = Math.max(2 * blockMs, FORGET_AFTER_LEASES * pendingIdleMs)
    for (const { key } of this.#roles) {
      const consumers = await client.sendCommand(['XINFO', 'CONSUMERS', key, consumerGroup])
      for (const { name, pending, idle } of readConsumers(consumers)) {
        if (name === consumerName || pending > 0 || idle < silence) continue
        await runScript(client, 'FORGET_CONSUMER', [key], [consumerGroup, name])
      }
    }
  }

  /** Removes this consumer. */
  async leave(client: RedisClient): Promise<void> {
    const { consumerGroup, consumerName } = this.#options
    for (const { key } of this.#roles)
      await runScript(client, 'FORGET_CONSUMER', [key], [consumerGroup, consumerName])
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
