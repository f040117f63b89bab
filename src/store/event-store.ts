import type { EventspineError } from '../errors.ts'
import type { DomainEvent, EventClass } from '../events/index.ts'
import type { HealthStatus } from '../observability/health-status.ts'

/** The name of a stream: the events of one aggregate. */
export interface StreamName {
  readonly aggregateId: string
  readonly aggregateType: string
}

/**
 * The state that a stream must have for an append: exactly this version, any state (`'any'`), no stream (`'noStream'`,
 * the same as 0), or an existing stream (`'streamExists'`).
 */
export type ExpectedVersion = number | 'any' | 'noStream' | 'streamExists'

/** The events to write, all or none. They belong to one aggregate. */
export interface AppendRequest extends StreamName {
  /** The store assigns their versions: the `aggregateVersion` of a stored event is its version in the stream. */
  readonly events: readonly DomainEvent[]
  readonly expectedVersion: ExpectedVersion
}

/** What an append returns. */
export interface AppendResult {
  /** Version of the stream after the append. */
  readonly newVersion: number
  /**
   * Position of the last appended event. If no events were given: the position of the stream's last event, or 0. In a
   * transaction, it is the position that the event will have after the commit.
   */
  readonly globalPosition: number
}

/** A stored event. */
export interface StoredEvent {
  /** Its `aggregateVersion` is its version in the stream. */
  readonly event: DomainEvent
  /** Position in the feed, from 1. Positions increase, but not always by 1: an append that is rolled back leaves a gap. */
  readonly position: number
  readonly storedAt: Date
  /**
   * A StoredEventError if the class of the event refuses the stored payload. `event` is then a `GenericEvent` with the raw
   * data, or without data if the row cannot be read (`isReadable` is false).
   */
  readonly fault?: EventspineError | undefined
}

/** The events of one aggregate, or the requested part of them. */
export interface EventStream {
  readonly aggregateId: string
  /** Undefined if no type was given and there is no such stream. */
  readonly aggregateType: string | undefined
  readonly events: readonly DomainEvent[]
  /** Version of the whole stream, even if `events` is a part of it; 0 if there is no stream. */
  readonly version: number
  /** True after `deleteStream`. The events are removed, but the version is kept. */
  readonly isDeleted: boolean
}

/** Which events of a stream to read. */
export interface GetEventsOptions {
  /** Needed only if aggregates of several types have the same id. */
  readonly aggregateType?: string | undefined
  /** Only events after this version. Default 0. */
  readonly fromVersion?: number
  /** Only events up to and including this version. Default Infinity. */
  readonly toVersion?: number
}

/** Selects events of the feed. */
export interface FeedFilter {
  readonly eventTypes?: readonly string[] | undefined
  readonly aggregateTypes?: readonly string[] | undefined
  readonly tenantId?: string | undefined
  /** Only the events of one business transaction. */
  readonly correlationId?: string | undefined
}

/** Which events `readAll` reads. */
export interface ReadAllOptions extends FeedFilter {
  /** Only events after this position. Default 0. */
  readonly fromPosition?: number
  /** Only events up to and including this position. Default Infinity. */
  readonly toPosition?: number
  /** Maximum number of events. Default Infinity; 500 for `readPage`. */
  readonly limit?: number
  /**
   * Size at which a page ends, in bytes: the page ends after the event with which its payloads and metadata reach this
   * size as JSON. Default 1 MiB. The in-memory store ignores it, because its events are in memory already.
   */
  readonly maxBytes?: number
  /**
   * Events whose stored text can be published may come without their payload. Only a relay sets it; a store may ignore it.
   * @internal
   */
  readonly undecoded?: boolean
}

/** A part of the feed, and the end of the feed at that time. */
export interface FeedPage {
  readonly events: readonly StoredEvent[]
  /**
   * The end of the feed just before the events were read. Unless the page has `limit` events or is cut, it has every
   * event up to `head` that passes the filter.
   */
  readonly head: number
  /** Id of the event at `head`; undefined in an empty store, or if that event was deleted or archived. */
  readonly headEventId: string | undefined
  /** True if the page ended before `limit` events because of their size. Continue from the position of the last event. */
  readonly isCut?: boolean
  /** Id of the event at `fromPosition`, if the store read it together with the page. */
  readonly fromEventId?: string
}

/** An open transaction that keeps the feed of a store from advancing. */
export interface HeldBack {
  /** The feed ends at this position until the transaction ends. */
  readonly position: number
  readonly sinceMs: number
  /** The session that holds the feed back, as the server describes it. */
  readonly session: string
}

/** The health of an event store. */
export interface EventStoreHealth {
  /** `'down'`: the store cannot be used. `'degraded'`: it works, but has `problems`. */
  readonly status: HealthStatus
  readonly problems: readonly string[]
  /** Undefined if nothing holds the feed back. */
  readonly heldBack: HeldBack | undefined
}

/** The part of an event store that writes and reads streams. Transactions also have it. */
export interface StreamStore {
  /**
   * Appends events to a stream, all or none.
   *
   * Events that are already stored at exactly the versions that this append would give them count as written. This is
   * checked before the expected version, so an append that is repeated after a lost response returns the result of the
   * first one.
   *
   * @throws OptimisticLockError if the stream is not at the expected version.
   * @throws DuplicateEventError if another event has the id of one of the events.
   * @throws EventStreamMismatchError if an event belongs to another aggregate.
   * @throws StreamDeletedError if the stream was deleted.
   */
  appendEvents(request: AppendRequest): Promise<AppendResult>

  /**
   * Returns the events of one aggregate in order.
   * @throws AmbiguousStreamError if no type is given and aggregates of several types have the id.
   * @throws StoredEventError if the class of an event refuses its payload.
   * @throws ConfigError if an option is unknown or wrong.
   */
  getEvents(aggregateId: string, options?: GetEventsOptions): Promise<EventStream>

  eventExists(eventId: string): Promise<boolean>

  /**
   * Removes the events of a stream and closes the stream for good. The next version of the stream becomes a tombstone,
   * so that no version is used twice. The tombstone is an event of type {@link STREAM_DELETED} at the end of the feed,
   * and wildcard handlers receive it. Stores that also keep snapshots delete the snapshot of the stream. Deleting the stream again returns the version and position of the tombstone.
   *
   * @returns version and position of the tombstone; both 0 if there is no such stream.
   */
  deleteStream(stream: StreamName): Promise<AppendResult>

  /**
   * Registers event classes, so that the store returns events of their types as instances. Events of other types are
   * returned as `GenericEvent`s. Repositories and subscription managers register the classes that they handle.
   *
   * @throws DuplicateEventTypeError if another class has the type.
   */
  registerEvents(eventClasses: readonly EventClass[]): void
}

/** Event type of the tombstone of a deleted stream. */
export const STREAM_DELETED = '$streamDeleted'

/**
 * The part of an event store that a subscription reads: events in an order that is the same for every reader. An outbox
 * is also such a feed.
 */
export interface EventFeed {
  /** The next events of the feed, and where the feed ends. @throws ConfigError if an option is unknown or wrong. */
  readPage(options?: ReadAllOptions): Promise<FeedPage>

  /** The end of the feed; 0 in an empty store. All events up to it can be read, and none will be added before it. */
  headPosition(): Promise<number>

  /**
   * Position of the last stored event, also while an open append holds the feed back before it. Absent if nothing holds the
   * feed back: it is that of `headPosition` then.
   */
  lastPosition?(): Promise<number>

  /** The largest position up to which all events were stored before this time. */
  positionBefore(time: Date): Promise<number>

  /**
   * Calls the listener when events may have been appended. It is only a hint: calls may come too often, and a store may
   * not notice writers in other processes.
   *
   * @returns a function that removes the listener.
   */
  onAppend(listener: () => void): () => void

  /** Id of the feed, the same for every process that opens it. A checkpoint belongs to one feed. */
  identity(): Promise<string>

  /** Returns whether the store has the event. Absent if the feed removes events that were read, as an outbox does. */
  eventExists?(eventId: string): Promise<boolean>

  /** The health of the store. Never rejects. */
  health(): Promise<EventStoreHealth>

  /**
   * Registers event classes, so that the feed returns events of their types as instances.
   * @throws DuplicateEventTypeError if another class has the type.
   */
  registerEvents(eventClasses: readonly EventClass[]): void
}

/**
 * Stores events permanently. A stream has the events of one aggregate, identified by type and id. The feed has the events of all
 * streams, in an order that is the same for every reader.
 *
 * `describeEventStore` in `eventspine/testing` tests this contract.
 */
export interface EventStore extends StreamStore, EventFeed, AsyncDisposable {
  eventExists(eventId: string): Promise<boolean>

  /**
   * Reads the feed from a position to its current end. To continue, read from the position of the last event: no event
   * is ever added at or before a position that was read.
   *
   * @throws ConfigError if an option is unknown or wrong.
   */
  readAll(options?: ReadAllOptions): AsyncIterable<StoredEvent>

  /** Resolves when the store can be used. @throws the reason if it cannot. */
  ready(): Promise<void>

  /** Waits for running calls, then closes all handles. Idempotent. */
  close(): Promise<void>
}
