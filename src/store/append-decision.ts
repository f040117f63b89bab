import type { ExpectedVersion, StreamName } from './event-store.ts'

/** The state of a stream when an append starts. */
export interface StreamState {
  readonly version: number
  readonly isDeleted: boolean
}

/** The stored position of an event that an append repeats. */
export interface KnownEvent extends StreamName {
  readonly aggregateVersion: number
  readonly position: number
  /** True if the stored event equals the given one except for its version. */
  readonly isSame: boolean
}

/** An append, reduced to the ids of its events and the other values that its outcome depends on. */
export interface AppendIds extends StreamName {
  readonly eventIds: readonly string[]
  readonly expectedVersion: ExpectedVersion
}

/** The outcome of an append. Plain data, because it may come from another thread or from a server. */
export type AppendDecision =
  /** The events from `firstIndex` on must be written, the first of them with `firstVersion`. */
  | { readonly outcome: 'write'; readonly firstIndex: number; readonly firstVersion: number }
  /** All events are stored already; the last one is at this position. */
  | { readonly outcome: 'repetition'; readonly newVersion: number; readonly globalPosition: number }
  | AppendRefusal

/** Why an append is refused. */
export type AppendRefusal =
  | { readonly outcome: 'conflict'; readonly actualVersion: number }
  | { readonly outcome: 'duplicate'; readonly eventId: string; readonly position: number }
  | { readonly outcome: 'otherContent'; readonly eventId: string }
  | { readonly outcome: 'deleted' }

/**
 * Decides the outcome of an append. Every store applies these rules.
 *
 * @param known - returns the stored position of the event with an index; undefined if its id is not in the store.
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

/** The version that the first event of a repeated append must have. */
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

/**
 * The version that the stream must have for the rest of an append: the version of the last event that is already
 * stored.
 */
function expectedAfter(last: KnownEvent | undefined, expected: ExpectedVersion): ExpectedVersion {
  const isAnywhere = expected === 'any' || expected === 'streamExists'
  return last === undefined || isAnywhere ? expected : last.aggregateVersion
}

function isExpected(expected: ExpectedVersion, version: number): boolean {
  if (expected === 'any') return true
  if (expected === 'noStream') return version === 0
  return expected === 'streamExists' ? version > 0 : version === expected
}
