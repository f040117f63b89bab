// The conformance suite loads this file in another process.
import { KafkaEventBus } from '../../src/kafka/index.ts'
import type { CreateBusOptions } from '../../src/testing/index.ts'
import { as } from './documented-rights.ts'

export function create({ scope, ...options }: CreateBusOptions): KafkaEventBus {
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
