import type { EventBus } from '../bus/index.ts'
import type { DomainEvent } from '../events/index.ts'
import { PASSES_ON } from '../events/passed-on-event.ts'
import { decodedEvent } from '../store/passed-on.ts'
import type { BatchProjection, RelayTraits } from './projection.ts'
import type { SubscriptionOptions } from './subscription-options.ts'

/** Options of a relay: those of a subscription, with a name. */
export interface RelayOptions extends SubscriptionOptions {
  /** Name of the relay, which identifies its checkpoint. */
  readonly name: string
}

/**
 * A relay retries without a limit, because an outage of a broker ends. It uses small batches, because after a crash the
 * last ones are published again. A save takes the store longer than publishing a batch.
 */
export const relayDefaults = {
  maxRetries: Number.POSITIVE_INFINITY,
  batchSize: 100,
  checkpointEveryEvents: 500,
} satisfies SubscriptionOptions

/** A relay as a batch projection. */
export interface Relay extends BatchProjection, RelayTraits {}

/**
 * Publishes stored events in the order of the feed. The next attempt of a failed batch leaves out the events that the bus
 * has confirmed, up to the first event of each aggregate that it has not.
 */
export function relayTo(bus: Pick<EventBus, 'publish'>): Relay {
  // The attempts of a batch have the same event objects. A page that is read again has others, and is published whole.
  const confirmed = new WeakSet<DomainEvent>()
  const takesStored = () => PASSES_ON in bus && bus[PASSES_ON] === true
  const publish = (events: readonly DomainEvent[]) =>
    // A middleware that was added after the read must not get an event that is not decoded.
    bus.publish(takesStored() ? events : events.map(decodedEvent))
  return {
    takesStored,
    handleBatch: (events: readonly DomainEvent[]) => {
      const rest = events.filter((event) => !confirmed.has(event))
      return rest.length === 0 ? undefined : publishRest(publish, rest, confirmed)
    },
  }
}

async function publishRest(
  publish: (events: readonly DomainEvent[]) => Promise<void>,
  events: readonly DomainEvent[],
  confirmed: WeakSet<DomainEvent>,
): Promise<void> {
  try {
    await publish(events)
  } catch (error) {
    const statuses = statusesOf(error)
    const incomplete = new Set<string>()
    for (const [index, event] of events.entries()) {
      const aggregate = JSON.stringify([event.aggregateType, event.aggregateId])
      if (statuses[index] !== 'stored') incomplete.add(aggregate)
      // A later event of an incomplete aggregate is published again, so that the order is kept.
      else if (!incomplete.has(aggregate)) confirmed.add(event)
    }
    throw error
  }
}

/** Not by class, because a bus may come from another copy of the package. */
function statusesOf(error: unknown): readonly unknown[] {
  if (!(error instanceof Error) || !('outcomes' in error) || !Array.isArray(error.outcomes)) return []
  return error.outcomes.map((outcome: unknown) =>
    typeof outcome === 'object' && outcome !== null && 'status' in outcome ? outcome.status : undefined,
  )
}
