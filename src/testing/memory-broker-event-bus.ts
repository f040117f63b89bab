import { BrokerEventBus, type BrokerOptions, brokerDefaults, brokerRules } from '../bus/index.ts'
import { resolveOptions } from '../kit/index.ts'
import { MemoryBroker } from './memory-broker.ts'
import { MemoryTransport } from './memory-transport.ts'

export interface MemoryBrokerEventBusOptions extends BrokerOptions {
  /** The broker. Default: a new one. */
  readonly broker?: MemoryBroker
  /**
   * Waits between two attempts, and returns false if one of the signals aborts first. Default: a timer. `TestBus` passes a
   * function that does not wait.
   */
  readonly sleep?: (ms: number, ...signals: readonly AbortSignal[]) => Promise<boolean>
}

/** A broker bus without a broker: complete except for the network, for tests of programs that use a broker bus. */
export class MemoryBrokerEventBus extends BrokerEventBus<MemoryTransport> {
  readonly broker: MemoryBroker

  /** @throws ConfigError if an option is unknown or out of range. */
  constructor({ broker = new MemoryBroker(), sleep, ...options }: MemoryBrokerEventBusOptions = {}) {
    const resolved = resolveOptions('MemoryBrokerEventBus', options, brokerDefaults, brokerRules)
    super(
      resolved,
      (host) => new MemoryTransport(broker, resolved.consumerGroup, resolved.publishTimeoutMs, host),
      sleep,
    )
    this.broker = broker
  }

  /** Makes the consumer of this bus vanish as if its process had been killed: it settles nothing more. */
  crash(): void {
    this.transport.crash()
  }
}
