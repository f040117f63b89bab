import { type DomainEvent, type Outbox, SubscriptionManager } from '../../index.ts'

/** The target of a relay. */
export interface PublishedTo {
  publish(events: readonly DomainEvent[]): Promise<void>
}

/** A relay that was started by a test. */
export interface RunningRelay {
  /** Resolves when everything is published that is in the outbox now. */
  whenPublished(): Promise<void>
  /** Stops the relay without publishing the remaining events. */
  stop(): Promise<void>
}

/** Starts a relay with a name, which identifies its progress. */
export type StartRelay = (
  outbox: Outbox,
  bus: PublishedTo,
  name: string,
) => RunningRelay | Promise<RunningRelay>

/** The relay of this package. */
export const startManagerRelay: StartRelay = (outbox, bus, name) => {
  const manager = new SubscriptionManager({ eventStore: outbox, logger: silent })
  manager.relay(bus, { name, checkpointEveryMs: 10, pollIntervalMs: 100, retryBaseDelayMs: 10 })
  manager.start()
  return {
    whenPublished: () => manager.whenCaughtUp(name),
    stop: async () => void (await manager.stop()),
  }
}

const ignore = () => undefined

/** Failures are planned in these tests. */
export const silent = { debug: ignore, info: ignore, warn: ignore, error: ignore }
