import {
  BrokerEventBus,
  type BrokerOptions,
  brokerDefaults,
  brokerRules,
  orderingOf,
  type PartitionOptions,
  partitionDefaults,
  partitionRules,
  withBroadcast,
} from '../bus/index.ts'
import { resolveOptions } from '../kit/index.ts'
import { MemoryBroker } from './memory-broker.ts'
import { MemoryTransport } from './memory-transport.ts'

/** With `ordering: 'aggregate'`, or `partitions`, an aggregate is handled by one consumer of the group at a time. */
export interface MemoryBrokerEventBusOptions extends BrokerOptions, PartitionOptions {
  /** The broker. Default: a new one. */
  readonly broker?: MemoryBroker
  /**
   * Waits between two attempts, and returns false if one of the signals aborts first. Default: a timer. `TestBus` passes a
   * function that does not wait.
   */
  readonly sleep?: (ms: number, ...signals: readonly AbortSignal[]) => Promise<boolean>
}

const defaults = { ...brokerDefaults, ...partitionDefaults }
const rules = { ...brokerRules, ...partitionRules }

/** A broker bus without a broker: complete except for the network, for tests of programs that use a broker bus. */
export class MemoryBrokerEventBus extends BrokerEventBus<MemoryTransport> {
  readonly broker: MemoryBroker

  /** @throws ConfigError if an option is unknown or out of range. */
  constructor({ broker = new MemoryBroker(), sleep, ...options }: MemoryBrokerEventBusOptions = {}) {
    const name = 'MemoryBrokerEventBus'
    const resolved = withBroadcast(name, options, resolveOptions(name, options, defaults, rules))
    const keepsOrder = orderingOf(resolved) === 'aggregate'
    super(resolved, (host) => new MemoryTransport(broker, { ...resolved, keepsOrder }, host), sleep)
    this.broker = broker
  }

  /** Makes the consumer of this bus vanish as if its process had been killed: it settles nothing more. */
  crash(): void {
    this.transport.crash()
  }
}
