// The module that the conformance suite loads in a separate process.
import { RedisEventBus } from '../../src/redis/index.ts'
import type { CreateBusOptions } from '../../src/testing/index.ts'

export function create({ scope, ...options }: CreateBusOptions): RedisEventBus {
  const redisUrl = process.env['EVENTSPINE_TEST_REDIS_URL'] ?? ''
  return new RedisEventBus({ ...options, redisUrl, streamPrefix: scope, pendingIdleMs: 1000, blockMs: 1000 })
}
