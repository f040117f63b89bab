import { describe, it } from 'vitest'
import { describeEventBus } from '../../src/testing/index.ts'
import { LACKS } from '../support/lacks-of-buses.ts'
import { paced } from '../support/pace.ts'
import { createInMemoryBus } from './memory-buses.ts'

describeEventBus('InMemoryEventBus', {
  runner: { describe, it },
  create: createInMemoryBus,
  module: new URL('./in-memory-bus.ts', import.meta.url),
  lacks: LACKS.memory,
  waitMs: paced(10_000),
})
