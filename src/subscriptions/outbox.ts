import { ConfigError, describeValue } from '../errors.ts'
import { currentCause } from '../events/causation.ts'
import { isEvent, notAnEvent, withCauseUnlessSet } from '../events/domain-event.ts'
import type { DomainEvent } from '../events/index.ts'
import type { EventFeed, FeedFilter } from '../store/index.ts'
import type { CheckpointStore } from './checkpoint-store.ts'
import type { Lease, LeaseStore } from './lease-store.ts'

/** The outbox inside a transaction. */
export interface OutboxTransaction {
  /**
   * Adds events, which a relay publishes after the commit of the transaction, in this order. After a rollback, none of them is
   * published. Inside a handler, the handled event becomes the cause of the events.
   *
   * @throws TransactionRequiredError if no transaction is open.
   * @throws TypeError if an element of the array is not an event; then none is added.
   */
  add(events: readonly DomainEvent[]): Promise<void>
}

/**
 * Events that were committed with the transactions of their publishers and are not published yet: a feed for the relay
 * of a `SubscriptionManager`. Events of one aggregate are in the order of the commits. Events that all relays have
 * published are removed.
 *
 * @example
 * await using manager = new SubscriptionManager({ eventStore: stores.outbox })
 * manager.relay(bus, { name: 'to-kafka' })
 * manager.start()
 */
export interface Outbox extends EventFeed {
  /**
   * The checkpoints of the relays. A manager of the outbox uses them. Each save also removes events that all relays have published,
   * in bounded batches; the last published event stays, because it marks the end of the feed.
   */
  readonly checkpoints: CheckpointStore
  /**
   * The leases of the relays. Of several relays with the same name, one publishes and the others stand by. A manager of
   * the outbox uses them.
   */
  readonly leases: LeaseStore
  /**
   * Removes the checkpoint of a relay that you no longer run. Until then, the outbox keeps all events that this relay
   * has not published.
   * @returns false if there is no relay with this name.
   */
  removeRelay(name: string): Promise<boolean>
}

/** True for a feed that has its own checkpoints and leases. */
export function isOutbox(feed: EventFeed | undefined): feed is Outbox {
  if (typeof feed !== 'object' || feed === null) return false
  return 'checkpoints' in feed && 'leases' in feed && 'removeRelay' in feed
}

/**
 * A relay with a filter would advance past the other events, and the outbox would remove them although they were not
 * published.
 * @throws ConfigError
 */
export function refuseFilter(name: string, { eventTypes, aggregateTypes, tenantId }: FeedFilter): void {
  if (eventTypes === undefined && aggregateTypes === undefined && tenantId === undefined) return
  throw new ConfigError(`subscription ${name}`, [
    'a relay of an outbox must publish all events, because the outbox removes every event that the relay has passed: omit the filter and choose in publish',
  ])
}

/** Leases whose names have a prefix, so that they differ from the names of other leases in the same store. */
export class PrefixedLeaseStore implements LeaseStore {
  readonly #leases: LeaseStore
  readonly #prefix: string

  constructor(leases: LeaseStore, prefix: string) {
    this.#leases = leases
    this.#prefix = prefix
  }

  acquire(name: string, owner: string, ttlMs: number): Promise<Lease | undefined> {
    return this.#leases.acquire(this.#prefix + name, owner, ttlMs)
  }

  release(name: string, owner: string): Promise<void> {
    return this.#leases.release(this.#prefix + name, owner)
  }

  onRelease(listener: () => void): () => void {
    return this.#leases.onRelease(listener)
  }
}

/** Prefix of the names of the leases of relays. */
export const OUTBOX_LEASE_PREFIX = 'outbox/'

/**
 * Checks the events that are added to an outbox, and gives them the handled event as their cause.
 * @throws TypeError
 */
export function outgoingEvents(events: readonly DomainEvent[]): readonly DomainEvent[] {
  if (!Array.isArray(events)) {
    throw new TypeError(`outbox.add takes an array of events, got ${describeValue(events)}.`)
  }
  for (const event of events) {
    if (!isEvent(event)) throw notAnEvent('outbox.add takes an array of events', event)
  }
  const cause = currentCause()
  return cause === undefined ? events : events.map((event) => withCauseUnlessSet(event, cause))
}
