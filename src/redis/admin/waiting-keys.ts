import { parseNames } from '../../transport/replay-headers.ts'
import type { RedisClient } from '../client/client.ts'
import type { RedisKeys } from '../options.ts'

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
