// The conformance suite loads this file in another process.
import { KafkaEventBus } from '../../src/kafka/index.ts'
import type { CreateBusOptions } from '../../src/testing/index.ts'
import { as } from './documented-rights.ts'

// The topic exists by then, with its partitions. Kafka always keeps the order of an aggregate.
export function create({ scope, partitions: _, ordering: __, ...options }: CreateBusOptions): KafkaEventBus {
  const bootstrapServers = process.env['EVENTSPINE_TEST_KAFKA_SERVERS'] ?? ''
  const groupProtocol = process.env['EVENTSPINE_TEST_GROUP_PROTOCOL'] === 'consumer' ? 'consumer' : 'classic'
  return new KafkaEventBus({
    ...options,
    ...as('bus'),
    bootstrapServers,
    topicPrefix: scope,
    groupProtocol,
    sessionTimeoutMs: 1500,
    heartbeatIntervalMs: 200,
  })
}
