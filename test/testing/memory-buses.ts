import { type EventBus, InMemoryEventBus } from '../../src/index.ts'
import {
  type BusFaults,
  type CreateBusOptions,
  MemoryBroker,
  MemoryBrokerEventBus,
} from '../../src/testing/index.ts'

const brokers = new Map<string, MemoryBroker>()

function brokerOf(scope: string): MemoryBroker {
  const broker = brokers.get(scope) ?? new MemoryBroker()
  brokers.set(scope, broker)
  return broker
}

export function createMemoryBrokerBus({ scope, ...options }: CreateBusOptions): MemoryBrokerEventBus {
  return new MemoryBrokerEventBus({ broker: brokerOf(scope), ...options })
}

export const memoryFaults: BusFaults = {
  idleLimitMs: 50,
  publishRaw: (scope, message) => brokerOf(scope).publishRaw(message),
  loseTopology: (scope) => brokerOf(scope).loseGroups(),
  cutConnections: (scope) => {
    brokerOf(scope).goDown()
    brokerOf(scope).comeUp()
  },
  stopBroker: (scope) => brokerOf(scope).goDown(),
  startBroker: (scope) => brokerOf(scope).comeUp(),
  loseConfirmations: (scope, isLosing) => {
    brokerOf(scope).losesConfirmations = isLosing
  },
  crash: (bus: EventBus) => {
    if (bus instanceof MemoryBrokerEventBus) bus.crash()
  },
}

/** The in-memory bus takes the options that it knows. */
export function createInMemoryBus({
  logger,
  handlerTimeoutMs = Number.POSITIVE_INFINITY,
  maxBackgroundPublishes = 1000,
}: CreateBusOptions): InMemoryEventBus {
  return new InMemoryEventBus({ logger, handlerTimeoutMs, maxBackgroundPublishes, keepLastEvents: 100 })
}
