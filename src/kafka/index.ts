import '../node-version.ts'

export { KAFKA_AVAILABLE, KafkaNotAvailableError } from './client/client.ts'
export type { KafkaSecurityOptions } from './client/security.ts'
export {
  type KafkaDlqMessage,
  type KafkaDlqPlace,
  KafkaEventBus,
  type KafkaEventBusStats,
  type KafkaTopicInfo,
} from './event-bus.ts'
export type { KafkaEventBusOptions } from './options.ts'
