import { parseNames } from '../../transport/replay-headers.ts'
import type { RedisClient } from '../client/client.ts'
import { readParked } from '../dead-letters/parked-places.ts'
import type { RedisKeys } from '../options.ts'
import { orderKey } from '../wire/place.ts'
import { readPairs } from '../wire/replies.ts'

/** Dead letters that one reply looks at. */
const PAGE = '1000'

/** The keys of the entries of a group that wait for a later attempt, and of the orders in which they have a place. */
export async function waitingKeys(
  client: RedisClient,
  keys: RedisKeys,
  group: string,
): Promise<readonly string[]> {
  const reply = await client.sendCommand(['ZRANGEBYSCORE', keys.waiting(group), '-inf', '+inf'])
  const members = Array.isArray(reply) ? reply.map(String) : []
  const found = members.flatMap((member) => {
    const [, handlerName, key] = parseNames(member) ?? []
    const order =
      handlerName === undefined || key === undefined ? [] : [keys.waitingOrder(group, handlerName, key)]
    return [keys.waitingEntry(group, member), ...order]
  })
  return [...new Set(found)]
}

/** What the dead letters of a group hold in orders of their aggregates. */
export interface ParkedKeys {
  /** The ids of the dead letters. */
  readonly letters: readonly string[]
  /** The keys of the orders. */
  readonly orders: readonly string[]
}

export async function parkedKeys(client: RedisClient, keys: RedisKeys, group: string): Promise<ParkedKeys> {
  const letters: string[] = []
  const orders = new Set<string>()
  let cursor = '0'
  do {
    const reply: unknown = await client.sendCommand(['HSCAN', keys.parked, cursor, 'COUNT', PAGE])
    const [next, noted]: unknown[] = Array.isArray(reply) ? reply : []
    for (const [id, note] of readPairs(noted)) {
      const parked = readParked(note)
      if (parked?.group !== group) continue
      letters.push(id)
      for (const member of parked.places.values()) orders.add(orderKey(keys, group, member))
    }
    cursor = String(next ?? '0')
  } while (cursor !== '0')
  return { letters, orders: [...orders] }
}
