import './node-version.ts'

export * from './aggregates/index.ts'
export type * from './browsing/index.ts'
export * from './bus/index.ts'
export {
  type ConfiguredBus,
  type ConfiguredStore,
  defineConfig,
  type EventspineConfig,
} from './cli-config.ts'
export * from './codec/index.ts'
export * from './contract/index.ts'
export {
  type AnyEventBus,
  type CreateEventBusOptions,
  createEventBus,
  type EventBusFor,
} from './create-event-bus.ts'
export { ConfigError, EventspineError } from './errors.ts'
export * from './events/index.ts'
export * from './handling/index.ts'
export * from './kafka/index.ts'
export * from './kit/index.ts'
export type * from './observability/index.ts'
export * from './rabbitmq/index.ts'
export * from './redis/index.ts'
export * from './store/index.ts'
export * from './subscriptions/index.ts'
export * from './transport/index.ts'
