import { randomUUID } from 'node:crypto'
import { describe, onTestFinished } from 'vitest'
import { MemoryBroker, MemoryBrokerEventBus } from '../../../src/testing/index.ts'
import { traceTests } from '../../support/one-trace.ts'
import { RecordingLogger } from '../../support/recording-logger.ts'

const brokers = new Map<string, MemoryBroker>()

function brokerOf(scope: string): MemoryBroker {
  const broker = brokers.get(scope) ?? new MemoryBroker()
  brokers.set(scope, broker)
  return broker
}

describe('a trace over the broker in memory', () => {
  traceTests('memory', {
    scope: randomUUID,
    create: (scope, options) => {
      const broker = brokerOf(scope)
      const bus = new MemoryBrokerEventBus({
        broker,
        retryBaseDelayMs: 1,
        logger: new RecordingLogger(),
        ...options,
      })
      onTestFinished(() => bus.shutdown())
      return bus
    },
    publishRaw: async (scope, message) => brokerOf(scope).publishRaw(message),
    destination: () => 'memory-broker',
    server: {},
    attributes: {},
  })
})
