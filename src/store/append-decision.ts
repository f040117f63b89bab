import type { ExpectedVersion, StreamName } from './event-store.ts'

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

function isExpected(expected: ExpectedVersion, version: number): boolean {
  if (expected === 'any') return true
  if (expected === 'noStream') return version === 0
  return expected === 'streamExists' ? version > 0 : version === expected
}
