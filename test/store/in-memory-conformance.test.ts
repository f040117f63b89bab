import { describe, it } from 'vitest'
import { InMemoryEventStore } from '../../src/index.ts'
import { describeEventStore } from '../../src/testing/index.ts'

describeEventStore('InMemoryEventStore', {
  runner: { describe, it },
  create: () => new InMemoryEventStore(),
})
