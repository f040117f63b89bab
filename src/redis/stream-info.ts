import type { BrokerEventBusStats } from '../bus/telemetry/bus-counters.ts'
import type { RedisClient } from './client/client.ts'
import { readConsumers } from './consuming/group.ts'
import { isNoGroup } from './errors.ts'
import type { ResolvedRedisOptions } from './options.ts'
import { readPairs } from './wire/replies.ts'

/** A consumer group of the stream. */
export interface RedisGroupInfo {
  readonly name: string
  readonly consumers: number
  /** Entries delivered to a consumer and not acknowledged. */
  readonly pending: number
  /** Entries not yet delivered to the group; null if Redis does not know it, or is older than 7.0. */
  readonly lag: number | null
}

/** The state of the stream and its groups, as `getStreamInfo` returns it. */
export interface RedisStreamInfo {
  readonly connected: boolean
  readonly stream: {
    readonly name: string
    readonly length: number
    readonly firstEntryId: string | null
    readonly lastEntryId: string | null
  }
  readonly consumerGroups: readonly RedisGroupInfo[]
  /** Pending entries of this bus's group. */
  readonly pendingMessages: number
  readonly dlqMessages: number
  /** Consumers of this bus's group. */
  readonly activeConsumers: number
  readonly stats: BrokerEventBusStats
}

export async function readStreamInfo(
  client: RedisClient,
  { keys, consumerGroup }: ResolvedRedisOptions,
  stats: BrokerEventBusStats,
): Promise<RedisStreamInfo> {
  const stream = readPairs(await orEmpty(client.sendCommand(['XINFO', 'STREAM', keys.stream])))
  const groups = await readGroups(client, { keys })
  const consumers = readConsumers(
    await orEmpty(client.sendCommand(['XINFO', 'CONSUMERS', keys.stream, consumerGroup])),
  )
  return {
    connected: true,
    stream: {
      name: keys.stream,
      length: Number(stream.get('length') ?? 0),
      firstEntryId: entryId(stream.get('first-entry')),
      lastEntryId: entryId(stream.get('last-entry')),
    },
    consumerGroups: groups,
    pendingMessages: groups.find(({ name }) => name === consumerGroup)?.pending ?? 0,
    dlqMessages: Number(await client.sendCommand(['XLEN', keys.deadLetters])),
    activeConsumers: consumers.length,
    stats,
  }
}

/** The reply, or an empty one if the stream or the group does not exist. */
async function orEmpty(reply: Promise<unknown>): Promise<unknown> {
  try {
    return await reply
  } catch (error) {
    if (isNoGroup(error)) return []
    throw error
  }
}

/** The consumer groups of the stream. */
export async function readGroups(
  client: RedisClient,
  { keys }: Pick<ResolvedRedisOptions, 'keys'>,
): Promise<readonly RedisGroupInfo[]> {
  const reply = await orEmpty(client.sendCommand(['XINFO', 'GROUPS', keys.stream]))
  if (!Array.isArray(reply)) return []
  return reply.map((row: unknown) => {
    const fields = readPairs(row)
    const lag = fields.get('lag')
    return {
      name: String(fields.get('name')),
      consumers: Number(fields.get('consumers')),
      pending: Number(fields.get('pending')),
      lag: typeof lag === 'number' ? lag : null,
    }
  })
}

function entryId(entry: unknown): string | null {
  return Array.isArray(entry) ? String(entry[0]) : null
}
