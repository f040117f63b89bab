import type { DuplicableRedisClient } from './client.ts'

/** Members by which clients of other packages, and the other clients of node-redis, differ from its plain client. */
const FOREIGN: readonly (readonly [member: string, advice: string])[] = [
  [
    'defineCommand',
    'This is a client of ioredis: create one with createClient of the package redis, or set redisUrl',
  ],
  [
    'nodeClient',
    'This is a cluster of node-redis: the bus uses a single server, so pass a client of that, or set redisUrl',
  ],
  ['getSentinelNode', 'This is a sentinel of node-redis: pass a client of the primary, or set redisUrl'],
  [
    'send_command',
    'This is a client of an old version of node-redis: update the package redis, or set redisUrl',
  ],
]

/** Returns why a client cannot be used; undefined if it is not one of the known unsupported clients. */
export function foreignClient(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  return FOREIGN.find(([member]) => typeof Reflect.get(value, member) === 'function')?.[1]
}

/** True for a client of node-redis, and for an object of the user that duplicates one. */
export function isNodeRedisClient(value: unknown): value is DuplicableRedisClient {
  if (typeof value !== 'object' || value === null || foreignClient(value) !== undefined) return false
  return typeof Reflect.get(value, 'duplicate') === 'function'
}
