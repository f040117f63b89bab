import { expect, it, test } from 'vitest'
import { cycleFaults, importFaults } from '../../scripts/import-rules.ts'

test.each([
  ['errors.ts', `import { Logger } from './observability/logger.ts'`],
  ['index.ts', `export { RedisLink } from './redis/client/link.ts'`],
  ['events/event.ts', `import { JsonCodec } from '../codec/index.ts'`],
  ['events/event.ts', `import type { Logger } from '../observability/index.ts'`],
  ['events/event.ts', `import { EventBus } from '../index.ts'`],
  ['codec/json-codec.ts', `import type {\n  EventBus,\n} from '../bus/index.ts'`],
  ['kit/time.ts', `import type { DomainEvent } from '../events/index.ts'`],
  ['handling/dispatcher.ts', `import type { Delivery } from '../transport/transport.ts'`],
  ['transport/transport.ts', `import type { EventBus } from '../bus/index.ts'`],
  ['bus/event-bus.ts', `export * from '../redis/index.ts'`],
  ['bus/event-bus.ts', `const client = await import('ioredis')`],
  ['bus/telemetry/bus-metrics.ts', `import { Pipeline } from '../consuming/pipeline.ts'`],
  ['bus/publishing/publisher.ts', `import { Pipeline } from '../consuming/pipeline.ts'`],
  ['bus/event-bus.ts', `import { x } from './elsewhere/new.ts'`],
  ['redis/transport.ts', `import '../kafka/index.ts'`],
  ['redis/transport.ts', `import amqp from 'amqplib/callback_api'`],
  ['redis/publishing/publisher.ts', `import { Group } from '../consuming/group.ts'`],
  ['redis/client/link.ts', `import { Publisher } from '../publishing/publisher.ts'`],
  ['kafka/nested/deep.ts', `import { x } from '../../rabbitmq/index.ts'`],
  ['kafka/dead-letters/dead-letters.ts', `import type { X } from '../consuming/held-record.ts'`],
  ['store/event-store.ts', `type Bus = import('../bus/index.ts').EventBus`],
  ['aggregates/repository.ts', `import { EventBus } from '../bus/index.ts'`],
  ['aggregates/repository.ts', `import type { EventBus, BrokerEventBus } from '../bus/index.ts'`],
  ['subscriptions/manager.ts', `import * as bus from '../bus/index.ts'`],
  ['testing/wait-for.ts', `import { Dispatcher } from '../handling/dispatcher.ts'`],
  ['bus/event-bus.ts', `import { waitFor } from '../testing/index.ts'`],
  ['elsewhere/new.ts', ''],
])('refuses in %s: %s', (file, source) => {
  expect(importFaults(file, source)).toHaveLength(1)
})

test.each([
  ['events/event.ts', `import { EventspineError } from '../errors.ts'`],
  ['bus/consuming/pipeline.ts', `import { PublishError } from '../errors.ts'`],
  ['bus/consuming/pipeline.ts', `import { BusMetrics } from '../telemetry/bus-metrics.ts'`],
  ['bus/event-bus.ts', `import type { Logger } from '../observability/index.ts'`],
  ['redis/transport.ts', `const { createClient } = await import('redis')`],
  ['redis/consuming/group.ts', `import { moveToDeadLetters } from '../dead-letters/dead-letters.ts'`],
  ['aggregates/repository.ts', `import type { EventBus } from '../bus/index.ts'`],
  ['subscriptions/session.ts', `import { Deadline } from '../kit/deadline.ts'`],
  ['events/event.ts', `/** @example import { RedisEventBus } from 'eventspine/redis' */`],
])('allows in %s: %s', (file, source) => {
  expect(importFaults(file, source)).toEqual([])
})

it('finds circular imports, including those of types', () => {
  const sources = new Map([
    ['kit/a.ts', `import { b } from './b.ts'`],
    ['kit/b.ts', `import type { C } from './c.ts'`],
    ['kit/c.ts', `import { a } from './a.ts'\nimport { d } from './d.ts'`],
    ['kit/d.ts', ''],
  ])

  expect(cycleFaults(sources)).toEqual(['src: circular import: kit/a.ts -> kit/b.ts -> kit/c.ts -> kit/a.ts'])
})

it('finds no circle if two files import the same file', () => {
  const sources = new Map([
    ['kit/a.ts', `import './b.ts'\nimport './c.ts'`],
    ['kit/b.ts', `import './c.ts'`],
    ['kit/c.ts', `import 'node:fs'`],
  ])

  expect(cycleFaults(sources)).toEqual([])
})
