// Events and the bus in memory alone. Unlike the main entry point, it loads no code of a broker, a store or a subscription.
import '../node-version.ts'

export { BusClosedError } from '../bus/errors.ts'
export { EventBus, type PublishOptions, type ShutdownOptions } from '../bus/event-bus.ts'
export type { BusHealth, HealthCheck, HealthOptions, MeasuredCheck } from '../bus/health.ts'
export { InMemoryEventBus, type InMemoryEventBusStats } from '../bus/in-memory-event-bus.ts'
export type { InMemoryEventBusOptions } from '../bus/in-memory-options.ts'
export { ConfigError, EventspineError } from '../errors.ts'
export * from '../events/index.ts'
export * from '../handling/index.ts'
