import { describe, it } from 'vitest'
import { describeEventBus } from '../../src/testing/index.ts'
import { paced } from '../support/pace.ts'
import { createMemoryBrokerBus, memoryFaults } from './memory-buses.ts'

describeEventBus('MemoryBrokerEventBus', {
  runner: { describe, it },
  create: createMemoryBrokerBus,
  module: new URL('./memory-broker-bus.ts', import.meta.url),
  faults: memoryFaults,
  lacks: { processes: 'the broker is an object in one process' },
  waitMs: paced(10_000),
})
