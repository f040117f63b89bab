export { MemoryBroker, type RawMessage } from './memory-broker.ts'
export { MemoryBrokerEventBus, type MemoryBrokerEventBusOptions } from './memory-broker-event-bus.ts'
export { MemoryTransport } from './memory-transport.ts'
