import { expect, test } from 'vitest'
import { importFaults } from '../../scripts/import-rules.ts'

test.each([
  ['errors.ts', `import { Logger } from './observability/logger.ts'`],
  ['index.ts', `export { RedisLink } from './redis/redis-link.ts'`],
  ['events/event.ts', `import { JsonCodec } from '../codec/index.ts'`],
  ['events/event.ts', `import type { Logger } from '../observability/index.ts'`],
  ['events/event.ts', `import { EventBus } from '../index.ts'`],
  ['codec/json-codec.ts', `import type {\n  EventBus,\n} from '../bus/index.ts'`],
  ['bus/transport.ts', `export * from '../redis/index.ts'`],
  ['bus/transport.ts', `const client = await import('ioredis')`],
  ['redis/redis-transport.ts', `import '../kafka/index.ts'`],
  ['redis/redis-transport.ts', `import amqp from 'amqplib/callback_api'`],
  ['kafka/nested/deep.ts', `import { x } from '../../rabbitmq/index.ts'`],
  ['store/event-store.ts', `type Bus = import('../bus/index.ts').EventBus`],
  ['aggregates/repository.ts', `import { EventBus } from '../bus/index.ts'`],
  ['aggregates/repository.ts', `import type { EventBus, Dispatcher } from '../bus/index.ts'`],
  ['subscriptions/manager.ts', `import * as bus from '../bus/index.ts'`],
  ['testing/wait-for.ts', `import { Dispatcher } from '../bus/dispatcher.ts'`],
  ['bus/event-bus.ts', `import { waitFor } from '../testing/index.ts'`],
  ['cli/main.ts', `import { waitFor } from '../testing/index.ts'`],
  ['dashboard/server.ts', `import { RedisTransport } from '../redis/redis-transport.ts'`],
  ['elsewhere/new.ts', ''],
])('refuses in %s: %s', (file, source) => {
  expect(importFaults(file, source)).toHaveLength(1)
})

test.each([
  ['events/event.ts', `import { EventspineError } from '../errors.ts'`],
  ['bus/deep/file.ts', `import { EventBus } from '../event-bus.ts'`],
  ['bus/event-bus.ts', `import type { Logger } from '../observability/index.ts'`],
  ['redis/redis-transport.ts', `const { createClient } = await import('redis')`],
  ['aggregates/repository.ts', `import type { EventBus } from '../bus/index.ts'`],
  ['cli/main.ts', `import { RedisEventBus } from '../redis/index.ts'`],
  ['events/event.ts', `/** @example import { RedisEventBus } from 'eventspine/redis' */`],
])('allows in %s: %s', (file, source) => {
  expect(importFaults(file, source)).toEqual([])
})
