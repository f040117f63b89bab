import type { BrokerEventBusStats } from '../bus/telemetry/bus-counters.ts'
import type { RedisClient } from './client/client.ts'
import { readStreamState } from './client/stream-state.ts'
import { readConsumers } from './consuming/group.ts'
import { isNoGroup } from './errors.ts'
import type { ResolvedRedisOptions } from './options.ts'

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
  const state = await readStreamState(client, keys.stream)
  const groups = state?.groups ?? []
  const consumers = readConsumers(
    await orEmpty(client.sendCommand(['XINFO', 'CONSUMERS', keys.stream, consumerGroup])),
  )
  return {
    connected: true,
    stream: {
      name: keys.stream,
      length: state?.stream.length ?? 0,
      firstEntryId: state?.stream.firstEntryId ?? null,
      lastEntryId: state?.stream.lastEntryId ?? null,
    },
    consumerGroups: groups.map(({ name, consumers: count, pending, lag }) => ({
      name,
      consumers: count,
      pending,
      lag,
    })),
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
