export { KAFKA_AVAILABLE, KafkaNotAvailableError } from './kafka-client.ts'
export {
  type KafkaDlqMessage,
  type KafkaDlqPlace,
  KafkaEventBus,
  type KafkaEventBusStats,
  type KafkaTopicInfo,
} from './kafka-event-bus.ts'
export type { KafkaEventBusOptions } from './kafka-options.ts'
export type { KafkaSecurityOptions } from './kafka-security.ts'
