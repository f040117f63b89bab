export { type DuplicableRedisClient, REDIS_AVAILABLE, RedisNotAvailableError } from './redis-client.ts'
export {
  type RecoverPendingOptions,
  type RedisDlqMessage,
  type RedisDlqQuery,
  RedisEventBus,
} from './redis-event-bus.ts'
export type { RedisEventBusOptions } from './redis-options.ts'
export type { RecoveryResult } from './redis-recovery.ts'
export type { RedisGroupInfo, RedisStreamInfo } from './redis-stream-info.ts'
