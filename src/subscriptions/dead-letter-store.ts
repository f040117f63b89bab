import { stackOf } from '../errors.ts'
import type { DomainEvent } from '../events/index.ts'
import { readable } from '../redaction.ts'
import { MemoryTable } from '../store/memory-table.ts'

/** Longest text about an error that is stored with a parked event, in characters. */
const MAX_ERROR_TEXT = 1000

/** Identifies a parked event: a subscription has at most one per position. */
export interface ParkedEventKey {
  readonly subscription: string
  readonly position: number
}

/** An event that a subscription dead-lettered. */
export interface ParkedEvent extends ParkedEventKey {
  /** A `GenericEvent` if the class of the event is unknown here. */
  readonly event: DomainEvent
  /** The handlers that failed. */
  readonly handlerNames: readonly string[]
  readonly errorName: string
  readonly errorMessage: string
  /** The stack of the error, if the subscription has `deadLetterStacks`. */
  readonly errorStack?: string | undefined
  readonly attempts: number
  readonly firstFailedAt: Date
  readonly failedAt: Date
}

/** Which parked events to read. */
export interface ParkedEventFilter {
  readonly subscription?: string | undefined
  /** Only entries after this one, in the order of subscription and position. Pass the last entry of the previous page. */
  readonly after?: ParkedEventKey | undefined
  /** Maximum number of events. Default 100. */
  readonly limit?: number
}

/** What a parked event keeps of an error: cut texts without secrets. */
export function parkedError(
  error: Error,
  { deadLetterStacks }: { readonly deadLetterStacks: boolean },
): Pick<ParkedEvent, 'errorName' | 'errorMessage' | 'errorStack'> {
  return {
    errorName: readable(String(error.name), MAX_ERROR_TEXT),
    errorMessage: readable(String(error.message), MAX_ERROR_TEXT),
    errorStack: deadLetterStacks ? stackOf(error) : undefined,
  }
}

/**
 * Stores the events that subscriptions dead-lettered. The events are also kept in the event store.
 * `describeStores` in `eventspine/testing` tests this contract.
 */
export interface SubscriptionDeadLetterStore {
  /** Stores an event; replaces an entry with the same subscription and position. */
  add(parked: ParkedEvent): Promise<void>
  /** Lists the stored events, ordered by subscription and position. */
  list(filter?: ParkedEventFilter): Promise<readonly ParkedEvent[]>
  /** The number of stored events of each subscription that has some. */
  counts(): Promise<ReadonlyMap<string, number>>
  /** @returns true if there was such an entry. */
  remove(subscription: string, position: number): Promise<boolean>
  /** Removes entries whose last failure was before a time. @returns the number of removed entries. */
  prune(failedBefore: Date): Promise<number>
}

/** Stores dead letters in memory. */
export class InMemorySubscriptionDeadLetterStore implements SubscriptionDeadLetterStore {
  readonly #parked: MemoryTable<ParkedEvent>

  /** @param table - the table of a transaction. Default: a new table. */
  constructor(table = new MemoryTable<ParkedEvent>()) {
    this.#parked = table
  }

  async add(parked: ParkedEvent): Promise<void> {
    this.#parked.set(keyOf(parked), parked)
  }

  async list({ subscription, after, limit = 100 }: ParkedEventFilter = {}): Promise<readonly ParkedEvent[]> {
    return this.#parked
      .rows()
      .filter((parked) => subscription === undefined || parked.subscription === subscription)
      .filter((parked) => after === undefined || compare(parked, after) > 0)
      .toSorted(compare)
      .slice(0, limit)
  }

  async counts(): Promise<ReadonlyMap<string, number>> {
    const groups = Map.groupBy(this.#parked.rows(), ({ subscription }) => subscription)
    return new Map([...groups].map(([subscription, parked]) => [subscription, parked.length]))
  }

  async remove(subscription: string, position: number): Promise<boolean> {
    return this.#parked.delete(keyOf({ subscription, position }))
  }

  async prune(failedBefore: Date): Promise<number> {
    const old = this.#parked.rows().filter(({ failedAt }) => failedAt < failedBefore)
    for (const parked of old) this.#parked.delete(keyOf(parked))
    return old.length
  }
}

function keyOf({ subscription, position }: ParkedEventKey): string {
  return JSON.stringify([subscription, position])
}

function compare(a: ParkedEventKey, b: ParkedEventKey): number {
  if (a.subscription === b.subscription) return a.position - b.position
  return a.subscription < b.subscription ? -1 : 1
}
