export { createInMemoryBus as create } from './memory-buses.ts'
