import type { EventBus } from '../bus/index.ts'
import type { DomainEvent } from '../events/index.ts'
import type { BatchProjection } from './projection.ts'
import type { SubscriptionOptions } from './subscription-options.ts'

/** Options of a relay: those of a subscription, with a name. */
export interface RelayOptions extends SubscriptionOptions {
  /** Name of the relay, which its checkpoint goes by. */
  readonly name: string
}

/** A broker that is away comes back: a relay tries until it does, with batches that are not too large to be sent again. */
export const relayDefaults = {
  maxRetries: Number.POSITIVE_INFINITY,
  batchSize: 100,
} satisfies SubscriptionOptions

/** Publishes what is stored, in the order of the feed; a batch that was not confirmed as a whole is published again. */
export function relayTo(bus: Pick<EventBus, 'publish'>): BatchProjection {
  return { handleBatch: (events: readonly DomainEvent[]) => bus.publish(events) }
}
