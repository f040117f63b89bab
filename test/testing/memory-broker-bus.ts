export { createMemoryBrokerBus as create } from './memory-buses.ts'
