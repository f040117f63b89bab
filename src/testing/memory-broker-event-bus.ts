import {
  BrokerEventBus,
  type BrokerOptions,
  brokerDefaults,
  brokerRules,
  withBroadcast,
} from '../bus/index.ts'
import { resolveOptions } from '../kit/index.ts'
import { MemoryBroker } from './memory-broker.ts'
import { MemoryTransport } from './memory-transport.ts'

export interface MemoryBrokerEventBusOptions extends BrokerOptions {
  /** The broker. Default: a new one. */
  readonly broker?: MemoryBroker
}

/** A broker bus without a broker: complete except for the network, for tests of programs that use a broker bus. */
export class MemoryBrokerEventBus extends BrokerEventBus<MemoryTransport> {
  readonly broker: MemoryBroker

  /** @throws ConfigError if an option is unknown or out of range. */
  constructor({ broker = new MemoryBroker(), ...options }: MemoryBrokerEventBusOptions = {}) {
    const name = 'MemoryBrokerEventBus'
    const resolved = withBroadcast(name, options, resolveOptions(name, options, brokerDefaults, brokerRules))
    super(resolved, (host) => new MemoryTransport(broker, resolved, host))
    this.broker = broker
  }

  /** Makes the consumer of this bus vanish as if its process had been killed: it settles nothing more. */
  crash(): void {
    this.transport.crash()
  }
}
