import { BrokerEventBus } from '../bus/index.ts'
import { type AnyEventBus, createEventBus } from '../create-event-bus.ts'
import type { BusTarget } from './target.ts'

const ignore = () => undefined
/** Failures reach the caller; a log would stand between the lines of the output. */
const SILENT = { debug: ignore, info: ignore, warn: ignore, error: ignore }

/** Creates the bus, without a connection. It shuts down when it is disposed. */
export function createQuietBus({ url, options }: BusTarget): AnyEventBus {
  return createEventBus(url, { logger: SILENT, ...options })
}

/** Creates the bus, and connects to its broker. It shuts down when it is disposed. */
export async function openBus(target: BusTarget): Promise<AnyEventBus> {
  const bus = createQuietBus(target)
  try {
    if (bus instanceof BrokerEventBus) await bus.connect()
    return bus
  } catch (thrown) {
    await bus.shutdown()
    throw thrown
  }
}
