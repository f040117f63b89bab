import '../node-version.ts'

export { RABBITMQ_AVAILABLE, RabbitMQNotAvailableError } from './client/client.ts'
export type { RabbitMQDeathInfo } from './dead-letters/death-info.ts'
export type { RabbitMQDlqMessage } from './dead-letters/dlq-message.ts'
export { UnroutableError } from './errors.ts'
export { RabbitMQEventBus, type RabbitMQEventBusStats } from './event-bus.ts'
export type { HeadersMatch, RabbitMQEventBusOptions, RabbitMQExchangeType } from './options.ts'
export type { RabbitMQQueueInfo } from './transport.ts'
