import { describeValue } from '../errors.ts'
import { notAnEvent } from '../events/domain-event.ts'
import { DomainEvent } from '../events/index.ts'
import {
  DuplicateEventError,
  EventStreamMismatchError,
  OptimisticLockError,
  StreamDeletedError,
} from './errors.ts'
import type { AppendRequest, AppendResult, ExpectedVersion, StoredEvent, StreamName } from './event-store.ts'

/** A stream as an append finds it. */
export interface StreamState {
  readonly version: number
  readonly isDeleted: boolean
}

/** Where an event of an append lies already. */
export interface KnownEvent extends StreamName {
  readonly aggregateVersion: number
  readonly position: number
  /** The stored event is the given one, but for its version. */
  readonly isSame: boolean
}

/** An append by the ids of its events: all that its outcome depends on. */
export interface AppendIds extends StreamName {
  readonly eventIds: readonly string[]
  readonly expectedVersion: ExpectedVersion
}

/** What an append comes to. Plain data: it may come from another thread or from a server. */
export type AppendDecision =
  /** The events from `firstIndex` on are to be written, the first of them as `firstVersion`. */
  | { readonly outcome: 'write'; readonly firstIndex: number; readonly firstVersion: number }
  /** All events are there; the last one lies here. */
  | { readonly outcome: 'repetition'; readonly newVersion: number; readonly globalPosition: number }
  | AppendRefusal

export type AppendRefusal =
  | { readonly outcome: 'conflict'; readonly actualVersion: number }
  | { readonly outcome: 'duplicate'; readonly eventId: string; readonly position: number }
  | { readonly outcome: 'otherContent'; readonly eventId: string }
  | { readonly outcome: 'deleted' }

/**
 * The rules of an append, the same in every store.
 *
 * @param known - where the event of an index lies; undefined when its id is not in the store.
 */
export function decideAppend(
  { eventIds, expectedVersion, ...stream }: AppendIds,
  { version, isDeleted }: StreamState,
  known: (index: number) => KnownEvent | undefined,
): AppendDecision {
  const start = startOf(expectedVersion, eventIds.length === 0 ? undefined : known(0))
  let last: KnownEvent | undefined
  let count = 0
  for (const [index, eventId] of eventIds.entries()) {
    const found = known(index)
    if (found === undefined) continue
    const isInPlace = count === index && isAt(found, stream, start + index)
    if (!isInPlace) return { outcome: 'duplicate', eventId, position: found.position }
    if (!found.isSame) return { outcome: 'otherContent', eventId }
    last = found
    count += 1
  }
  if (last !== undefined && count === eventIds.length) {
    return { outcome: 'repetition', newVersion: last.aggregateVersion, globalPosition: last.position }
  }
  if (isDeleted) return { outcome: 'deleted' }
  if (!isExpected(expectedAfter(last, expectedVersion), version)) {
    return { outcome: 'conflict', actualVersion: version }
  }
  return { outcome: 'write', firstIndex: count, firstVersion: version + 1 }
}

/** The error that refuses an append. */
export function appendRefusal(
  request: StreamName & Pick<AppendRequest, 'expectedVersion'>,
  refusal: AppendRefusal,
): OptimisticLockError | DuplicateEventError | StreamDeletedError {
  switch (refusal.outcome) {
    case 'conflict':
      return new OptimisticLockError(request, request.expectedVersion, refusal.actualVersion)
    case 'duplicate':
      return new DuplicateEventError(refusal.eventId, `is in use at position ${refusal.position}`)
    case 'otherContent':
      return new DuplicateEventError(refusal.eventId, 'is that of an event with other content')
    case 'deleted':
      return new StreamDeletedError(request)
  }
}

/** What an append comes to: the result that it has already, or the events to write, numbered. */
export interface AppendPlan {
  /** True where all events are there already: an append without its answer was repeated. */
  readonly isRepetition: boolean
  /** The last of the events that are there already. */
  readonly lastKnown: AppendResult | undefined
  /** To be written at the end of the stream. */
  readonly toWrite: readonly DomainEvent[]
}

/**
 * {@link decideAppend} for a store that keeps events as objects.
 *
 * @param find - the stored event with an id.
 * @throws OptimisticLockError, DuplicateEventError, EventStreamMismatchError, StreamDeletedError, TypeError
 */
export function planAppend(
  request: AppendRequest,
  stream: StreamState,
  find: (eventId: string) => StoredEvent | undefined,
): AppendPlan {
  checkAppend(request)
  const { events } = request
  const ids = { ...request, eventIds: events.map(({ eventId }) => eventId) }
  const decision = decideAppend(ids, stream, (index) => knownEvent(events[index], find))
  if (decision.outcome === 'repetition') return { isRepetition: true, lastKnown: decision, toWrite: [] }
  if (decision.outcome !== 'write') throw appendRefusal(request, decision)
  const { firstIndex, firstVersion } = decision
  const toWrite = events.slice(firstIndex).map((event, index) => numbered(event, firstVersion + index))
  return { isRepetition: false, lastKnown: undefined, toWrite }
}

function knownEvent(
  given: DomainEvent | undefined,
  find: (eventId: string) => StoredEvent | undefined,
): KnownEvent | undefined {
  const stored = given && find(given.eventId)
  if (given === undefined || stored === undefined) return undefined
  const { aggregateId, aggregateType, aggregateVersion } = stored.event
  const isSame = isSameEvent(given, stored.event)
  return { aggregateId, aggregateType, aggregateVersion, position: stored.position, isSame }
}

/** Where the first event of a repeated append must lie. */
function startOf(expected: ExpectedVersion, first: KnownEvent | undefined): number {
  if (typeof expected === 'number') return expected + 1
  return expected === 'noStream' ? 1 : (first?.aggregateVersion ?? 1)
}

function isAt(known: KnownEvent, stream: StreamName, version: number): boolean {
  return (
    known.aggregateVersion === version &&
    known.aggregateId === stream.aggregateId &&
    known.aggregateType === stream.aggregateType
  )
}

/** Where the stream must be for the rest of an append: behind the events of it that are there already. */
function expectedAfter(last: KnownEvent | undefined, expected: ExpectedVersion): ExpectedVersion {
  const isAnywhere = expected === 'any' || expected === 'streamExists'
  return last === undefined || isAnywhere ? expected : last.aggregateVersion
}

function isSameEvent(given: DomainEvent, stored: DomainEvent): boolean {
  return (
    given === stored || JSON.stringify(numbered(given, stored.aggregateVersion)) === JSON.stringify(stored)
  )
}

function numbered(event: DomainEvent, aggregateVersion: number): DomainEvent {
  return event.aggregateVersion === aggregateVersion ? event : event.withAggregateVersion(aggregateVersion)
}

function isExpected(expected: ExpectedVersion, version: number): boolean {
  if (expected === 'any') return true
  if (expected === 'noStream') return version === 0
  return expected === 'streamExists' ? version > 0 : version === expected
}

const NAMED: readonly unknown[] = ['any', 'noStream', 'streamExists'] satisfies ExpectedVersion[]

/**
 * Checks what needs no look at the store.
 * @throws DuplicateEventError, EventStreamMismatchError, TypeError
 */
export function checkAppend({ events, expectedVersion, ...stream }: AppendRequest): void {
  const isVersion = Number.isSafeInteger(expectedVersion) && Number(expectedVersion) >= 0
  if (!isVersion && !NAMED.includes(expectedVersion)) {
    throw new TypeError(
      `expectedVersion must be an integer of at least 0, 'any', 'noStream' or 'streamExists', got ${describeValue(expectedVersion)}`,
    )
  }
  const ids = new Set<string>()
  for (const event of events) {
    if (!(event instanceof DomainEvent)) {
      throw notAnEvent('appendEvents takes an array of events', event)
    }
    if (event.aggregateId !== stream.aggregateId || event.aggregateType !== stream.aggregateType) {
      throw new EventStreamMismatchError(event, stream)
    }
    if (ids.has(event.eventId)) throw new DuplicateEventError(event.eventId, 'comes twice in one append')
    ids.add(event.eventId)
  }
}
