import type { BrowsedEvent, BrowseQuery, FindOptions, OpenScan } from '../browsing/index.ts'
import type { DomainEvent } from '../events/index.ts'
import { checkPlace, NUMBERED } from '../kit/places.ts'
import type { EventFeed, StoredEvent } from './event-store.ts'

/** Positions that one read covers. */
const WINDOW = 500

/**
 * Searches an event store, as `bus.admin` searches a broker. Reading changes nothing. The code of the search is loaded with
 * the first call.
 *
 * @example
 * const found = await new EventBrowser(stores.events).find(eventId)
 */
export class EventBrowser {
  readonly #feed: EventFeed

  constructor(feed: EventFeed) {
    this.#feed = feed
  }

  /** Stored events in the order of a direction, page by page as they are read. @throws ConfigError for a wrong query. */
  async *browse(query: BrowseQuery = {}): AsyncGenerator<BrowsedEvent> {
    const { browseEvents } = await import('../browsing/index.ts')
    yield* browseEvents(this.#open(query), query)
  }

  /** The event with an id; undefined if there is none among those that were read. */
  async find(eventId: string, options: FindOptions = {}): Promise<BrowsedEvent | undefined> {
    if ((await this.#feed.eventExists?.(eventId)) === false) return undefined
    const { findEvent } = await import('../browsing/index.ts')
    return findEvent(this.#open({}), eventId, options)
  }

  /** The store itself applies those fields of the filter that it knows. */
  #open({ filter = {} }: BrowseQuery): OpenScan {
    const { eventTypes, aggregateType, tenantId, correlationId } = filter
    const selected = {
      eventTypes,
      aggregateTypes: aggregateType === undefined ? undefined : [aggregateType],
      tenantId,
      correlationId,
    }
    return async ({ from, direction }) => {
      checkPlace('browse: from', from, (text) => NUMBERED.test(text))
      const head = await this.#feed.headPosition()
      const isForward = direction === 'forward'
      const at = await this.#positionOf(from, head, isForward)
      const range = isForward ? { after: at, upTo: head } : { after: 0, upTo: at }
      const pages = isForward ? this.#forward(range, selected) : this.#backward(range, selected)
      return { total: Math.max(0, range.upTo - range.after), pages }
    }
  }

  /** Forward, the position after which the range starts; backward, its last position. */
  async #positionOf(from: Date | string, head: number, isForward: boolean): Promise<number> {
    if (from === 'first') return 0
    if (from === 'last') return head
    if (from instanceof Date) return this.#feed.positionBefore(new Date(from.getTime() + (isForward ? 0 : 1)))
    return Number(from) - (isForward ? 0 : 1)
  }

  async *#forward(range: Positions, selected: Selected): AsyncGenerator<readonly BrowsedEvent[]> {
    let after = range.after
    while (after < range.upTo) {
      const page = await this.#feed.readPage({
        ...selected,
        fromPosition: after,
        toPosition: range.upTo,
        limit: WINDOW,
      })
      if (page.events.length > 0) yield page.events.map(browsed)
      const isLast = page.events.length < WINDOW && page.isCut !== true
      const last = page.events.at(-1)
      if (isLast || last === undefined) return
      after = last.position
    }
  }

  async *#backward(range: Positions, selected: Selected): AsyncGenerator<readonly BrowsedEvent[]> {
    for (let upTo = range.upTo; upTo > range.after; upTo -= WINDOW) {
      const window: BrowsedEvent[] = []
      const part = { after: Math.max(range.after, upTo - WINDOW), upTo }
      for await (const page of this.#forward(part, selected)) window.push(...page)
      if (window.length > 0) yield window.reverse()
    }
  }
}

interface Positions {
  /** The range starts after this position. */
  readonly after: number
  /** Its last position. */
  readonly upTo: number
}

interface Selected {
  readonly eventTypes: readonly string[] | undefined
  readonly aggregateTypes: readonly string[] | undefined
  readonly tenantId: string | undefined
  readonly correlationId: string | undefined
}

function browsed(stored: StoredEvent): BrowsedEvent {
  return new BrowsedStoredEvent(stored)
}

/** A stored event. Its body is written on access. */
class BrowsedStoredEvent implements BrowsedEvent {
  readonly position: string
  readonly partition = undefined
  readonly storedAt: Date
  readonly headers = {}
  readonly event: DomainEvent

  constructor({ event, position, storedAt }: StoredEvent) {
    this.position = String(position)
    this.storedAt = storedAt
    this.event = event
  }

  get body(): Uint8Array {
    return Buffer.from(JSON.stringify(this.event))
  }

  get eventId(): string {
    return this.event.eventId
  }

  get eventType(): string {
    return this.event.eventType
  }

  get aggregateId(): string {
    return this.event.aggregateId
  }

  get aggregateType(): string {
    return this.event.aggregateType
  }

  get correlationId(): string {
    return this.event.correlationId
  }

  get causationId(): string | undefined {
    return this.event.causationId
  }

  get tenantId(): string | undefined {
    return this.event.tenantId
  }

  get occurredAt(): Date {
    return this.event.occurredAt
  }
}
