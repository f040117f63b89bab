import { BrokerEventBus, type BrokerOptions, brokerDefaults, brokerRules } from '../bus/index.ts'
import { resolveOptions } from '../kit/index.ts'
import { MemoryBroker } from './memory-broker.ts'
import { MemoryTransport } from './memory-transport.ts'

export interface MemoryBrokerEventBusOptions extends BrokerOptions {
  /** The broker; one of its own by default. */
  readonly broker?: MemoryBroker
}

/** A broker bus without a broker: everything but the network, for tests of programs that use one. */
export class MemoryBrokerEventBus extends BrokerEventBus<MemoryTransport> {
  readonly broker: MemoryBroker

  /** @throws ConfigError when an option is unknown or out of range. */
  constructor({ broker = new MemoryBroker(), ...options }: MemoryBrokerEventBusOptions = {}) {
    const resolved = resolveOptions('MemoryBrokerEventBus', options, brokerDefaults, brokerRules)
    super(
      resolved,
      (host) => new MemoryTransport(broker, resolved.consumerGroup, resolved.publishTimeoutMs, host),
    )
    this.broker = broker
  }

  /** Loses this bus's consumer as if its process had been killed: nothing is settled any more. */
  crash(): void {
    this.transport.crash()
  }
}
