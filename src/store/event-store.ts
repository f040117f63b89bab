import type { DomainEvent } from '../events/index.ts'

/**
 * Where a stream must be for an append to happen: at exactly this version, at any (`'any'`), not there at all
 * (`'noStream'`, the same as 0), or there (`'streamExists'`).
 */
export type ExpectedVersion = number | 'any' | 'noStream' | 'streamExists'

/** What to write: events of one aggregate, all or none. */
export interface AppendRequest {
  readonly aggregateId: string
  readonly aggregateType: string
  /** The store numbers them: the `aggregateVersion` of what it keeps is the version of the stream. */
  readonly events: readonly DomainEvent[]
  readonly expectedVersion: ExpectedVersion
}

export interface AppendResult {
  /** Version of the stream after the last of the events. */
  readonly newVersion: number
  /** Position of the last of the events; of the stream's last event (or 0) when there were none. */
  readonly globalPosition: number
}

/** An event as it lies in the store. */
export interface StoredEvent {
  /** Its `aggregateVersion` is its version within the stream. */
  readonly event: DomainEvent
  /** Its place among all events, from 1. */
  readonly position: number
  readonly storedAt: Date
}

/** The events of one aggregate, or those that were asked for. */
export interface EventStream {
  readonly aggregateId: string
  /** Undefined when no type was asked for and there is no such stream. */
  readonly aggregateType: string | undefined
  readonly events: readonly DomainEvent[]
  /** Version of the whole stream, whatever part of it `events` is; 0 when there is none. */
  readonly version: number
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
}

export interface ReadAllOptions extends FeedFilter {
  /** Only events after this position. Default 0. */
  readonly fromPosition?: number
  /** At most so many events. Default Infinity. */
  readonly limit?: number
}

/**
 * Keeps events for good. A stream is the events of one aggregate, named by type and id together; the feed is all
 * events of all streams, in the order in which they were committed.
 *
 * `describeEventStore` in `eventspine/testing` is the contract as tests.
 */
export interface EventStore {
  /**
   * Writes events at the end of a stream, all or none.
   *
   * Events that lie already exactly where this append would put them are taken as written, before the expected
   * version is looked at: the same append repeated, because its answer was lost, has the first one's result.
   *
   * @throws OptimisticLockError when the stream is not at the expected version.
   * @throws DuplicateEventError when an event id is in use for something else.
   * @throws EventStreamMismatchError when an event names another aggregate.
   */
  appendEvents(request: AppendRequest): Promise<AppendResult>

  /**
   * The events of one aggregate in order.
   * @throws AmbiguousStreamError when no type is given and the id has streams of several.
   */
  getEvents(aggregateId: string, options?: GetEventsOptions): Promise<EventStream>

  /**
   * The feed, from a position to its present end. Read on from the position of any event it gave, it gives what
   * comes after that one: nothing is ever added before a position that was seen.
   */
  readAll(options?: ReadAllOptions): AsyncIterable<StoredEvent>

  eventExists(eventId: string): Promise<boolean>

  /** Position of the last event; 0 in an empty store. Everything up to it can be read, and nothing will be added to it. */
  headPosition(): Promise<number>

  /** The position after which everything was stored at this time or later. */
  positionBefore(time: Date): Promise<number>

  /**
   * Calls the listener when something may have been appended. A mere wake-up: it may come too often, and a store whose
   * writers are in other processes may not call it at all.
   *
   * @returns ends it.
   */
  onAppend(listener: () => void): () => void
}
