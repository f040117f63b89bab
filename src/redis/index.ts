import '../node-version.ts'

export { type DuplicableRedisClient, REDIS_AVAILABLE, RedisNotAvailableError } from './client/client.ts'
export type { RecoveryResult } from './consuming/recovery.ts'
export {
  type RecoverPendingOptions,
  type RedisDlqMessage,
  type RedisDlqQuery,
  RedisEventBus,
} from './event-bus.ts'
export {
  RedisInbox,
  type RedisInboxContext,
  type RedisInboxHandler,
  type RedisInboxOptions,
} from './inbox.ts'
export type { RedisCommandClient } from './inbox-scripts.ts'
export type { RedisEventBusOptions } from './options.ts'
export type { RedisCommand, RedisEffects } from './redis-effects.ts'
export type { RedisGroupInfo, RedisStreamInfo } from './stream-info.ts'
