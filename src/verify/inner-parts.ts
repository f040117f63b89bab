import type { BrokerEventBus } from '../bus/index.ts'
import type { HandlerRegistry } from '../handling/handler-registry.ts'
import type { Transport } from '../transport/index.ts'

/** Parts of a bus that only its subclasses see: who uses a bus neither removes its names nor lists its handlers. */
export function innerParts(bus: BrokerEventBus): {
  readonly transport: Transport
  readonly handlers: HandlerRegistry
} {
  const part = (name: 'transport' | 'handlers'): unknown => Reflect.get(bus, name)
  // Every BrokerEventBus has these protected members.
  return { transport: part('transport') as Transport, handlers: part('handlers') as HandlerRegistry }
}
