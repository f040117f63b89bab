import type { EventBus } from '../bus/index.ts'
import type { DomainEvent } from '../events/index.ts'
import type { BatchProjection } from './projection.ts'
import type { SubscriptionOptions } from './subscription-options.ts'

/** Options of a relay: those of a subscription, with a name. */
export interface RelayOptions extends SubscriptionOptions {
  /** Name of the relay, which identifies its checkpoint. */
  readonly name: string
}

/**
 * A relay retries without a limit, because an outage of a broker ends. It uses small batches, because a failed batch is
 * repeated as a whole.
 */
export const relayDefaults = {
  maxRetries: Number.POSITIVE_INFINITY,
  batchSize: 100,
} satisfies SubscriptionOptions

/** Publishes stored events in the order of the feed. A batch that was not fully confirmed is published again. */
export function relayTo(bus: Pick<EventBus, 'publish'>): BatchProjection {
  return { handleBatch: (events: readonly DomainEvent[]) => bus.publish(events) }
}
