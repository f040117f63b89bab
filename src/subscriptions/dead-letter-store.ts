import type { DomainEvent } from '../events/index.ts'

/** An event that a subscription gave up on and went past. */
export interface ParkedEvent {
  readonly subscription: string
  readonly position: number
  readonly event: DomainEvent
  /** The handlers that failed. */
  readonly handlerNames: readonly string[]
  readonly errorName: string
  readonly errorMessage: string
  readonly attempts: number
  readonly firstFailedAt: Date
  readonly failedAt: Date
}

export interface ParkedEventFilter {
  readonly subscription?: string
  /** At most so many. Default 100. */
  readonly limit?: number
}

/** Keeps the events that subscriptions gave up on. The events themselves stay in the event store, too. */
export interface SubscriptionDeadLetterStore {
  /** Keeps an event; one that is there already (same subscription, same position) is replaced. */
  add(parked: ParkedEvent): Promise<void>
  /** What is kept, in the order of subscription and position. */
  list(filter?: ParkedEventFilter): Promise<readonly ParkedEvent[]>
  /** @returns true if it was there. */
  remove(subscription: string, position: number): Promise<boolean>
}

/** Keeps dead letters in memory. */
export class InMemorySubscriptionDeadLetterStore implements SubscriptionDeadLetterStore {
  readonly #parked = new Map<string, Map<number, ParkedEvent>>()

  async add(parked: ParkedEvent): Promise<void> {
    const ofName = this.#parked.get(parked.subscription) ?? new Map<number, ParkedEvent>()
    this.#parked.set(parked.subscription, ofName.set(parked.position, parked))
  }

  async list({ subscription, limit = 100 }: ParkedEventFilter = {}): Promise<readonly ParkedEvent[]> {
    return [...this.#parked]
      .filter(([name]) => subscription === undefined || name === subscription)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .flatMap(([, ofName]) => [...ofName.values()].toSorted((a, b) => a.position - b.position))
      .slice(0, limit)
  }

  async remove(subscription: string, position: number): Promise<boolean> {
    return this.#parked.get(subscription)?.delete(position) ?? false
  }
}
