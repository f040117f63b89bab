import { refuseLongNames } from '../codec/publish-limits.ts'
import { describeValue } from '../errors.ts'
import { isEvent, notAnEvent } from '../events/domain-event.ts'
import type { DomainEvent } from '../events/index.ts'
import { type AppendRefusal, decideAppend, type KnownEvent, type StreamState } from './append-decision.ts'
import {
  DuplicateEventError,
  EventStreamMismatchError,
  OptimisticLockError,
  StreamDeletedError,
} from './errors.ts'
import type { AppendRequest, AppendResult, ExpectedVersion, StoredEvent, StreamName } from './event-store.ts'

/** The error of a refused append. */
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
      return new DuplicateEventError(refusal.eventId, 'belongs to an event with other content')
    case 'deleted':
      return new StreamDeletedError(request)
  }
}

/** The outcome of an append: the result of the first attempt, or the numbered events to write. */
export interface AppendPlan {
  /** True if all events are already stored, because an append whose response was lost is repeated. */
  readonly isRepetition: boolean
  /** The last of the events that are already stored. */
  readonly lastKnown: AppendResult | undefined
  /** The events to write at the end of the stream. */
  readonly toWrite: readonly DomainEvent[]
}

/**
 * {@link decideAppend} for a store that keeps events as objects.
 *
 * @param find - returns the stored event with an id.
 * @throws OptimisticLockError, DuplicateEventError, EventStreamMismatchError, StreamDeletedError, EventLimitError, TypeError
 */
export function planAppend(
  request: AppendRequest,
  stream: StreamState,
  find: (eventId: string) => StoredEvent | undefined,
): AppendPlan {
  checkAppend(request)
  const { events } = request
  for (const event of events) refuseLongNames(event, 'stored')
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

function isSameEvent(given: DomainEvent, stored: DomainEvent): boolean {
  return (
    given === stored || JSON.stringify(numbered(given, stored.aggregateVersion)) === JSON.stringify(stored)
  )
}

/** The event with its version in the stream. */
export function numbered(event: DomainEvent, aggregateVersion: number): DomainEvent {
  return event.aggregateVersion === aggregateVersion ? event : event.withAggregateVersion(aggregateVersion)
}

const NAMED: readonly unknown[] = ['any', 'noStream', 'streamExists'] satisfies ExpectedVersion[]

/**
 * Checks everything that does not depend on the store.
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
    if (!isEvent(event)) {
      throw notAnEvent('appendEvents takes an array of events', event)
    }
    if (event.aggregateId !== stream.aggregateId || event.aggregateType !== stream.aggregateType) {
      throw new EventStreamMismatchError(event, stream)
    }
    if (ids.has(event.eventId)) throw new DuplicateEventError(event.eventId, 'occurs twice in one append')
    ids.add(event.eventId)
  }
}
