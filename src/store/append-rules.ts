import { describeValue } from '../errors.ts'
import { notAnEvent } from '../events/domain-event.ts'
import { DomainEvent } from '../events/index.ts'
import { DuplicateEventError, EventStreamMismatchError, OptimisticLockError } from './errors.ts'
import type { AppendRequest, ExpectedVersion, StoredEvent } from './event-store.ts'

/** What an append comes to: the events it finds already written, and those it has to write. */
export interface AppendPlan {
  /** The last of the events that are there already. */
  readonly lastKnown: StoredEvent | undefined
  /** Numbered, to be written at the end of the stream. */
  readonly toWrite: readonly DomainEvent[]
}

/**
 * The rules of an append, the same in every store.
 *
 * @param version - of the stream now.
 * @param find - the stored event with an id.
 * @throws OptimisticLockError, DuplicateEventError, EventStreamMismatchError, TypeError
 */
export function planAppend(
  request: AppendRequest,
  version: number,
  find: (eventId: string) => StoredEvent | undefined,
): AppendPlan {
  checkRequest(request)
  const known = knownPrefix(request, find)
  const lastKnown = known.at(-1)
  if (lastKnown !== undefined && known.length === request.events.length) return { lastKnown, toWrite: [] }
  const expected = expectedAfter(lastKnown, request.expectedVersion)
  if (!isExpected(expected, version)) throw new OptimisticLockError(request, request.expectedVersion, version)
  const toWrite = request.events
    .slice(known.length)
    .map((event, index) => numbered(event, version + index + 1))
  return { lastKnown, toWrite }
}

/** Where the stream must be for the rest of an append: behind the events of it that are there already. */
function expectedAfter(lastKnown: StoredEvent | undefined, expected: ExpectedVersion): ExpectedVersion {
  const isAnywhere = expected === 'any' || expected === 'streamExists'
  return lastKnown === undefined || isAnywhere ? expected : lastKnown.event.aggregateVersion
}

/** The events at the beginning of the request that lie already where it would put them. */
function knownPrefix(
  { events, expectedVersion, ...stream }: AppendRequest,
  find: (eventId: string) => StoredEvent | undefined,
): readonly StoredEvent[] {
  const known: StoredEvent[] = []
  const first = find(events[0]?.eventId ?? '')
  const start =
    typeof expectedVersion === 'number' ? expectedVersion + 1 : firstVersion(expectedVersion, first)
  for (const [index, event] of events.entries()) {
    const stored = find(event.eventId)
    if (stored === undefined) continue
    const isInPlace =
      known.length === index &&
      stored.event.aggregateId === stream.aggregateId &&
      stored.event.aggregateType === stream.aggregateType &&
      stored.event.aggregateVersion === start + index
    if (!isInPlace) throw new DuplicateEventError(event.eventId, `is in use at position ${stored.position}`)
    if (!isSameEvent(event, stored.event)) {
      throw new DuplicateEventError(event.eventId, `is that of an event with other content`)
    }
    known.push(stored)
  }
  return known
}

/** Where the first event of a repeated append must lie, where the request does not name a version. */
function firstVersion(expected: Exclude<ExpectedVersion, number>, first: StoredEvent | undefined): number {
  return expected === 'noStream' ? 1 : (first?.event.aggregateVersion ?? 1)
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

function checkRequest({ events, expectedVersion, ...stream }: AppendRequest): void {
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
