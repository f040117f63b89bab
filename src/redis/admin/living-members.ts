import type { RedisClient } from '../client/client.ts'
import { isNoGroup } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { readHash, readPairs } from '../wire/replies.ts'

/** A member that has not beaten for this time does not count as living, in milliseconds. It beats twice a second. */
export const LIVING_MS = 5000
/** A consumer of another library that has sent no command for this time does not count as living, in milliseconds. */
const FOREIGN_MS = 15_000

export interface LivingMembers {
  /** Consumers of eventspine, which beat. */
  readonly own: number
  /** Consumers of other libraries. */
  readonly foreign: number
  /** The names of all of them. */
  readonly names: ReadonlySet<string>
  /** The name of the consumer that owns a partition. */
  readonly owners: ReadonlyMap<number, string>
}

/** The consumers of a group that live, in all processes. */
export async function livingMembers(
  client: RedisClient,
  { keys }: ResolvedRedisOptions,
  group: string,
): Promise<LivingMembers> {
  const [members, leases, departed, time] = await Promise.all([
    client.sendCommand(['HGETALL', keys.members(group)]),
    client.sendCommand(['HGETALL', keys.leases(group)]),
    client.sendCommand(['SMEMBERS', keys.departed(group)]),
    client.sendCommand(['TIME']),
  ])
  const now = Array.isArray(time) ? Number(time[0]) * 1000 : Date.now()
  const names = new Map([...readHash(members)].map(([token, value]) => [token, memberOf(String(value))]))
  const living = [...names.values()].filter(({ beatAt }) => now - beatAt < LIVING_MS)
  // A consumer that has left stays in the group while it has entries.
  const left = Array.isArray(departed) ? departed.map(String) : []
  const known = new Set([...[...names.values()].map(({ name }) => name), ...left])
  const foreign = (await consumersOf(client, keys.streams, group)).filter((name) => !known.has(name))
  const owners = new Map<number, string>()
  for (const [partition, fence] of readHash(leases)) {
    const owner = names.get(String(fence).split('#')[0] ?? '')
    if (owner !== undefined && living.includes(owner)) owners.set(Number(partition), owner.name)
  }
  const all = new Set([...living.map(({ name }) => name), ...foreign])
  return { own: living.length, foreign: new Set(foreign).size, names: all, owners }
}

/** The names of the consumers that have sent a command lately. */
async function consumersOf(
  client: RedisClient,
  streams: readonly string[],
  group: string,
): Promise<readonly string[]> {
  const names = await Promise.all(
    streams.map(async (stream) => {
      try {
        const rows = await client.sendCommand(['XINFO', 'CONSUMERS', stream, group])
        const consumers = Array.isArray(rows) ? rows.map(readPairs) : []
        const active = consumers.filter((fields) => Number(fields.get('idle')) < FOREIGN_MS)
        return active.map((fields) => String(fields.get('name')))
      } catch (error) {
        if (isNoGroup(error)) return []
        throw error
      }
    }),
  )
  return names.flat()
}

/** A member's value: its last beat, its connection, its mode and its name. */
function memberOf(value: string): { readonly beatAt: number; readonly name: string } {
  const [beatAt = '0', , , ...name] = value.split(' ')
  return { beatAt: Number(beatAt), name: name.join(' ') }
}
