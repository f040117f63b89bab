import { toError } from '../errors.ts'
import type { DomainEvent } from '../events/index.ts'
import type { FieldsFirstLogger, Logger } from '../observability/logger.ts'
import { resolveLogger } from '../observability/resolve-logger.ts'
import { planAppend } from './append-rules.ts'
import { AmbiguousStreamError } from './errors.ts'
import type {
  AppendRequest,
  AppendResult,
  EventStore,
  EventStream,
  FeedFilter,
  GetEventsOptions,
  ReadAllOptions,
  StoredEvent,
} from './event-store.ts'

export interface InMemoryEventStoreOptions {
  /** Where a listener that throws is reported; `console` by default. */
  readonly logger?: Logger | FieldsFirstLogger
  /** Tells the time at which events are stored. Default: the system's clock. */
  readonly now?: () => Date
}

type Stream = readonly StoredEvent[]

/** Keeps events in memory: for tests and small programs. What it keeps ends with the process. */
export class InMemoryEventStore implements EventStore {
  readonly #logger: Logger
  readonly #now: () => Date
  readonly #feed: StoredEvent[] = []
  readonly #byId = new Map<string, StoredEvent>()
  /** By aggregate id, then by aggregate type. */
  readonly #streams = new Map<string, Map<string, StoredEvent[]>>()
  readonly #listeners = new Set<() => void>()

  constructor({ logger, now = () => new Date() }: InMemoryEventStoreOptions = {}) {
    this.#logger = resolveLogger(logger)
    this.#now = now
  }

  async appendEvents(request: AppendRequest): Promise<AppendResult> {
    const { aggregateId, aggregateType } = request
    const stream = this.#streams.get(aggregateId)?.get(aggregateType) ?? []
    const plan = planAppend(request, stream.length, (eventId) => this.#byId.get(eventId))
    const last = this.#write(plan.toWrite, request) ?? plan.lastKnown ?? stream.at(-1)
    return { newVersion: last?.event.aggregateVersion ?? 0, globalPosition: last?.position ?? 0 }
  }

  async getEvents(
    aggregateId: string,
    { aggregateType, fromVersion = 0, toVersion = Number.POSITIVE_INFINITY }: GetEventsOptions = {},
  ): Promise<EventStream> {
    const [type, stream] = this.#find(aggregateId, aggregateType)
    const events = stream.slice(Math.max(0, fromVersion), Math.max(0, toVersion)).map(({ event }) => event)
    return { aggregateId, aggregateType: type, events, version: stream.length }
  }

  async *readAll(options: ReadAllOptions = {}): AsyncIterable<StoredEvent> {
    const { fromPosition = 0, limit = Number.POSITIVE_INFINITY } = options
    const isWanted = matcher(options)
    let given = 0
    for (let index = Math.max(0, fromPosition); given < limit; index += 1) {
      const stored = this.#feed[index]
      if (stored === undefined) return
      if (!isWanted(stored.event)) continue
      given += 1
      yield stored
    }
  }

  async eventExists(eventId: string): Promise<boolean> {
    return this.#byId.has(eventId)
  }

  async headPosition(): Promise<number> {
    return this.#feed.length
  }

  async positionBefore(time: Date): Promise<number> {
    const first = this.#feed.find(({ storedAt }) => storedAt >= time)
    return first === undefined ? this.#feed.length : first.position - 1
  }

  onAppend(listener: () => void): () => void {
    // One of its own for each call, so that the same function may listen twice.
    const entry = () => listener()
    this.#listeners.add(entry)
    return () => void this.#listeners.delete(entry)
  }

  #write(events: readonly DomainEvent[], request: AppendRequest): StoredEvent | undefined {
    if (events.length === 0) return undefined
    const stream = this.#streamFor(request)
    const storedAt = this.#time()
    for (const event of events) {
      const stored = { event, position: this.#feed.length + 1, storedAt }
      this.#feed.push(stored)
      this.#byId.set(event.eventId, stored)
      stream.push(stored)
    }
    this.#notify()
    return stream.at(-1)
  }

  #streamFor({ aggregateId, aggregateType }: AppendRequest): StoredEvent[] {
    const ofId = this.#streams.get(aggregateId) ?? new Map<string, StoredEvent[]>()
    const stream = ofId.get(aggregateType) ?? []
    this.#streams.set(aggregateId, ofId.set(aggregateType, stream))
    return stream
  }

  /** Never earlier than that of the event before, though clocks are set back. */
  #time(): Date {
    const now = this.#now()
    const last = this.#feed.at(-1)?.storedAt
    return last !== undefined && last > now ? last : now
  }

  #notify(): void {
    for (const listener of this.#listeners) {
      try {
        listener()
      } catch (thrown) {
        this.#logger.error('a listener of onAppend failed', { error: toError(thrown) })
      }
    }
  }

  #find(aggregateId: string, aggregateType: string | undefined): readonly [string | undefined, Stream] {
    const ofId = this.#streams.get(aggregateId)
    if (aggregateType !== undefined) return [aggregateType, ofId?.get(aggregateType) ?? []]
    const [only, second] = ofId ?? []
    if (second !== undefined) throw new AmbiguousStreamError(aggregateId, [...(ofId?.keys() ?? [])])
    return only ?? [undefined, []]
  }
}

function matcher({ eventTypes, aggregateTypes, tenantId }: FeedFilter): (event: DomainEvent) => boolean {
  const types = eventTypes && new Set(eventTypes)
  const kinds = aggregateTypes && new Set(aggregateTypes)
  return (event) =>
    (types === undefined || types.has(event.eventType)) &&
    (kinds === undefined || kinds.has(event.aggregateType)) &&
    (tenantId === undefined || event.tenantId === tenantId)
}
