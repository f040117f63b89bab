import type { BrokerEventBusStats } from '../bus/telemetry/bus-counters.ts'
import type { RedisClient } from './client/client.ts'
import { type GroupState, isBefore, readStreamState } from './client/stream-state.ts'
import { readConsumers } from './consuming/group.ts'
import { isNoGroup } from './errors.ts'
import type { ResolvedRedisOptions } from './options.ts'

/** A consumer group of the stream. With several partitions, the numbers are sums over all of them. */
export interface RedisGroupInfo {
  readonly name: string
  /** With several partitions, the largest number of one of them. */
  readonly consumers: number
  /** Entries delivered to a consumer and not acknowledged. */
  readonly pending: number
  /** Entries not yet delivered to the group; null if Redis does not know it, or is older than 7.0. */
  readonly lag: number | null
}

/** The state of the stream, or of the streams of all partitions, and of the groups, as `getStreamInfo` returns it. */
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
  const known = await Promise.all(keys.streams.map((key) => readStreamState(client, key)))
  const states = known.filter((state) => state !== undefined)
  const groups = mergedGroups(states.flatMap((state) => state.groups))
  const replies = await Promise.all(
    keys.streams.map((key) => orEmpty(client.sendCommand(['XINFO', 'CONSUMERS', key, consumerGroup]))),
  )
  const consumers = new Set(replies.flatMap(readConsumers).map(({ name }) => name))
  const firstIds = states.flatMap(({ stream }) => stream.firstEntryId ?? [])
  const lastIds = states.flatMap(({ stream }) => stream.lastEntryId ?? [])
  return {
    connected: true,
    stream: {
      name: keys.stream,
      length: states.reduce((sum, { stream }) => sum + stream.length, 0),
      firstEntryId: firstIds.toSorted(byEntryId)[0] ?? null,
      lastEntryId: lastIds.toSorted(byEntryId).at(-1) ?? null,
    },
    consumerGroups: groups,
    pendingMessages: groups.find(({ name }) => name === consumerGroup)?.pending ?? 0,
    dlqMessages: Number(await client.sendCommand(['XLEN', keys.deadLetters])),
    activeConsumers: consumers.size,
    stats,
  }
}

/** Each group once, with the sums over the streams of all partitions. */
function mergedGroups(groups: readonly GroupState[]): readonly RedisGroupInfo[] {
  const merged = Map.groupBy(groups, ({ name }) => name)
  return Array.from(merged, ([name, parts]) => ({
    name,
    // A consumer of several partitions is in each of their streams.
    consumers: Math.max(...parts.map(({ consumers }) => consumers)),
    pending: parts.reduce((sum, { pending }) => sum + pending, 0),
    lag: parts.reduce<number | null>((sum, { lag }) => (sum === null || lag === null ? null : sum + lag), 0),
  }))
}

function byEntryId(a: string, b: string): number {
  return isBefore(a, b) ? -1 : Number(isBefore(b, a))
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
