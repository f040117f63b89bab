import {
  type EventPlace,
  type GroupInfo,
  type MessageScan,
  type ScanRequest,
  type TransportAdmin,
  totalLoad,
} from '../../transport/admin.ts'
import type { GroupProgress } from '../../transport/group-progress.ts'
import type { RedisClient } from '../client/client.ts'
import { runScript } from '../client/scripts.ts'
import { readStreamState, type StreamWithGroups } from '../client/stream-state.ts'
import type { RedisDeadLetters } from '../dead-letters/dead-letters.ts'
import { commandError } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { loadOf } from './group-load.ts'
import { LIVING_MS, livingMembers } from './living-members.ts'
import { RedisProgress } from './progress.ts'
import { RedisScan } from './scan.ts'
import { waitingKeys } from './waiting-keys.ts'

export interface RedisAdminParts {
  readonly options: ResolvedRedisOptions
  readonly client: () => RedisClient
  readonly deadLetters: RedisDeadLetters
}

/** What an operator can ask Redis. It reads with commands that change nothing. */
export class RedisAdmin implements TransportAdmin {
  readonly #parts: RedisAdminParts
  readonly #scan: RedisScan

  constructor(parts: RedisAdminParts) {
    this.#parts = parts
    this.#scan = new RedisScan(parts.options, parts.client)
  }

  scan(request: ScanRequest): Promise<MessageScan> {
    return this.#scan.open(request)
  }

  follow(aggregateId: string | undefined, signal: AbortSignal): Promise<MessageScan> {
    return this.#scan.follow(aggregateId, signal)
  }

  progress(place: EventPlace): Promise<readonly GroupProgress[]> {
    const { options } = this.#parts
    return this.#run('XPENDING', (client) => new RedisProgress(options, client).of(place))
  }

  groups(): Promise<readonly GroupInfo[]> {
    return this.#run('XINFO', async (client) => {
      const streams = await this.#states(client, this.#parts.options.keys.streams)
      const names = new Set(streams.flatMap((state) => state?.groups.map(({ name }) => name) ?? []))
      return Promise.all([...names].toSorted().map((name) => this.#describe(client, name, streams)))
    })
  }

  deleteGroup(group: string): Promise<boolean> {
    const { keys } = this.#parts.options
    return this.#run('XGROUP DESTROY', async (client) => {
      const { foreign } = await livingMembers(client, this.#parts.options, group)
      if (foreign > 0) return false
      const state = [keys.members(group), ...keys.streams]
      const deleted = await runScript(client, 'DELETE_GROUP', state, [group, String(LIVING_MS)])
      if (deleted !== 1) return false
      const replays = keys.streams.map((_, partition) => keys.replays(group, partition))
      const rest = [keys.types(group), keys.members(group), keys.leases(group), keys.departed(group)]
      const waiting = await waitingKeys(client, keys, group)
      await client.sendCommand([
        'UNLINK',
        ...replays,
        ...rest,
        ...waiting,
        keys.waiting(group),
        keys.waitingSince(group),
      ])
      return true
    })
  }

  async #describe(
    client: RedisClient,
    name: string,
    streams: readonly (StreamWithGroups | undefined)[],
  ): Promise<GroupInfo> {
    const { keys } = this.#parts.options
    const replayKeys = keys.streams.map((_, partition) => keys.replays(name, partition))
    const [replays, members, retriesWaiting, deadLetters] = await Promise.all([
      this.#states(client, replayKeys),
      livingMembers(client, this.#parts.options, name),
      client.sendCommand(['ZCARD', keys.waiting(name)]),
      this.#parts.deadLetters.count(name),
    ])
    const parts = await Promise.all(
      keys.streams.map(async (stream, index) => {
        const loads = await Promise.all([
          loadOf(client, stream, streams[index], name),
          loadOf(client, replayKeys[index] ?? '', replays[index], name),
        ])
        return { partition: index, consumer: members.owners.get(index), ...totalLoad(loads) }
      }),
    )
    return {
      name,
      members: members.own + members.foreign,
      ...totalLoad(parts),
      retriesWaiting: Number(retriesWaiting),
      deadLetters,
      partitions: this.#parts.options.partitions === 1 ? [] : parts,
    }
  }

  #states(client: RedisClient, keys: readonly string[]): Promise<readonly (StreamWithGroups | undefined)[]> {
    return Promise.all(keys.map((key) => readStreamState(client, key)))
  }

  async #run<T>(command: string, work: (client: RedisClient) => Promise<T>): Promise<T> {
    const client = this.#parts.client()
    try {
      return await work(client)
    } catch (error) {
      throw commandError(this.#parts.options.address, command, error)
    }
  }
}
