import { describe, it } from 'vitest'
import { describeEventBus } from '../../src/testing/index.ts'
import { paced } from '../support/pace.ts'
import { createInMemoryBus } from './memory-buses.ts'

const inOneProcess = 'publish runs the handlers itself, there is nothing in between'

describeEventBus('InMemoryEventBus', {
  runner: { describe, it },
  create: createInMemoryBus,
  module: new URL('./in-memory-bus.ts', import.meta.url),
  lacks: {
    consuming: inOneProcess,
    persistence: inOneProcess,
    history: inOneProcess,
    groupTypes: inOneProcess,
    consumerGroups: 'every subscription is its own',
    lanes: 'publishes that overlap run side by side',
    sharedOrder: 'there is no group whose consumers could share events',
    retry: 'a failed handler is logged and counted, the publisher is still there to publish again',
    waiting: inOneProcess,
    parking: 'there is no dead letter queue',
    orderedWaits: 'publishes that overlap run side by side',
    deadLetters: 'nothing is given up after retries, as there are none',
    wire: 'events are passed on as objects',
    redelivery: inOneProcess,
    backpressure: 'publish waits for the handlers, so its caller is the bound',
    outages: 'there is no broker to lose',
    processes: 'it lives in one process',
  },
  waitMs: paced(10_000),
})
