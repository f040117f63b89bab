import type { EventspineError } from '../errors.ts'
import type { DomainEvent, EventClass } from '../events/index.ts'
import type { HealthStatus } from '../observability/health-status.ts'

/** The name of a stream: the events of one aggregate. */
export interface StreamName {
  readonly aggregateId: string
  readonly aggregateType: string
}

/**
 * Where a stream must be for an append to happen: at exactly this version, at any (`'any'`), not there at all
 * (`'noStream'`, the same as 0), or there (`'streamExists'`).
 */
export type ExpectedVersion = number | 'any' | 'noStream' | 'streamExists'

/** What to write: events of one aggregate, all or none. */
export interface AppendRequest extends StreamName {
  /** The store numbers them: the `aggregateVersion` of what it keeps is the version of the stream. */
  readonly events: readonly DomainEvent[]
  readonly expectedVersion: ExpectedVersion
}

export interface AppendResult {
  /** Version of the stream after the last of the events. */
  readonly newVersion: number
  /**
   * Position of the last of the events; of the stream's last event (or 0) when there were none. In a transaction it is
   * the position that the event has once the transaction is committed.
   */
  readonly globalPosition: number
}

/** An event as it lies in the store. */
export interface StoredEvent {
  /** Its `aggregateVersion` is its version within the stream. */
  readonly event: DomainEvent
  /** Its place among all events, from 1. Positions only grow, and have holes: a rolled back append leaves one. */
  readonly position: number
  readonly storedAt: Date
  /**
   * A StoredEventError where the event is not an instance of its class, because the class refuses its payload. `event` is a `GenericEvent` with the
   * raw data then.
   */
  readonly fault?: EventspineError | undefined
}

/** The events of one aggregate, or those that were asked for. */
export interface EventStream {
  readonly aggregateId: string
  /** Undefined when no type was asked for and there is no such stream. */
  readonly aggregateType: string | undefined
  readonly events: readonly DomainEvent[]
  /** Version of the whole stream, whatever part of it `events` is; 0 when there is none. */
  readonly version: number
  /** True after `deleteStream`. Its events are gone, its version stays. */
  readonly isDeleted: boolean
}

export interface GetEventsOptions {
  /** Needed only where aggregates of several types have the same id. */
  readonly aggregateType?: string | undefined
  /** Only events after this version. Default 0. */
  readonly fromVersion?: number
  /** Only events up to this version, it included. Default Infinity. */
  readonly toVersion?: number
}

/** Which events of the feed are wanted. */
export interface FeedFilter {
  readonly eventTypes?: readonly string[] | undefined
  readonly aggregateTypes?: readonly string[] | undefined
  readonly tenantId?: string | undefined
  /** Only the events of one business transaction. */
  readonly correlationId?: string | undefined
}

export interface ReadAllOptions extends FeedFilter {
  /** Only events after this position. Default 0. */
  readonly fromPosition?: number
  /** Only events up to this position, it included. Default Infinity. */
  readonly toPosition?: number
  /** At most `limit` events. Default Infinity; 500 for `readPage`. */
  readonly limit?: number
}

/** A part of the feed, and where the feed ended. */
export interface FeedPage {
  readonly events: readonly StoredEvent[]
  /**
   * The end of the feed, taken before the events were read: every event that passes the filter and lies up to `head` is
   * in this page, unless the page is full.
   */
  readonly head: number
  /** Id of the event at `head`; undefined in an empty store, and when that event was deleted or archived. */
  readonly headEventId: string | undefined
}

/** What keeps the feed of a store from going on. */
export interface HeldBack {
  /** The position that the feed cannot pass. */
  readonly position: number
  readonly sinceMs: number
  /** Which session holds it, as its server names it. */
  readonly session: string
}

/** An event store at one moment. */
export interface EventStoreHealth {
  /** `'down'`: it cannot be used. `'degraded'`: it works, and `problems` says what is wrong. */
  readonly status: HealthStatus
  readonly problems: readonly string[]
  /** Undefined when nothing holds the feed back. */
  readonly heldBack: HeldBack | undefined
}

/** The half of an event store that writes and reads streams: what a transaction has, too. */
export interface StreamStore {
  /**
   * Writes events at the end of a stream, all or none.
   *
   * Events that lie already exactly where this append would put them are taken as written, before the expected
   * version is looked at: the same append repeated, because its answer was lost, has the first one's result.
   *
   * @throws OptimisticLockError when the stream is not at the expected version.
   * @throws DuplicateEventError when an event id is in use for something else.
   * @throws EventStreamMismatchError when an event names another aggregate.
   * @throws StreamDeletedError when the stream was deleted.
   */
  appendEvents(request: AppendRequest): Promise<AppendResult>

  /**
   * The events of one aggregate in order.
   * @throws AmbiguousStreamError when no type is given and the id has streams of several.
   * @throws StoredEventError when the class of an event refuses its payload.
   */
  getEvents(aggregateId: string, options?: GetEventsOptions): Promise<EventStream>

  eventExists(eventId: string): Promise<boolean>

  /**
   * Removes the events of a stream and closes it for good. A tombstone takes the stream's next version: an event of type
   * {@link STREAM_DELETED} at the end of the feed, which handlers of every event get. So no version is used twice.
   * Deleting it again returns the tombstone's version and position.
   *
   * @returns version and position of the tombstone; zeros when there is no such stream.
   */
  deleteStream(stream: StreamName): Promise<AppendResult>

  /**
   * Makes event classes known, so that stored events of their types come back as their instances; any other type comes
   * back as a `GenericEvent`. Repositories and subscription managers do it for the classes that they handle.
   *
   * @throws DuplicateEventTypeError when another class has the type.
   */
  registerEvents(eventClasses: readonly EventClass[]): void
}

/** Type of the event that takes the place of a deleted stream's next event. */
export const STREAM_DELETED = '$streamDeleted'

/**
 * Keeps events for good. A stream is the events of one aggregate, named by type and id together; the feed is all
 * events of all streams, in an order that every reader sees alike.
 *
 * `describeEventStore` in `eventspine/testing` is the contract as tests.
 */
export interface EventStore extends StreamStore, AsyncDisposable {
  /**
   * The feed, from a position to its present end. Read on from the position of any event it gave, it gives what
   * comes after that one: nothing is ever added at or before a position that was seen.
   */
  readAll(options?: ReadAllOptions): AsyncIterable<StoredEvent>

  /** The next events of the feed, and where the feed ends. */
  readPage(options?: ReadAllOptions): Promise<FeedPage>

  /** The end of the feed; 0 in an empty store. Everything up to it can be read, and nothing will be added to it. */
  headPosition(): Promise<number>

  /** The largest position such that every event at or before it was stored before this time. */
  positionBefore(time: Date): Promise<number>

  /**
   * Calls the listener when something may have been appended. A mere wake-up: it may come too often, and a store whose
   * writers are in other processes may not call it at all.
   *
   * @returns ends it.
   */
  onAppend(listener: () => void): () => void

  /** Id of the store, the same for all that open it: checkpoints belong to one store. */
  identity(): Promise<string>

  /** Never rejects. */
  health(): Promise<EventStoreHealth>

  /** Resolves when the store can be used. @throws why it cannot. */
  ready(): Promise<void>

  /** Waits for the calls under way, then lets go of what it holds open. Idempotent. */
  close(): Promise<void>
}
