import {
  type OptionRule,
  oneOf,
  optional,
  positiveIntegerOrInfinity,
  resolveOptions,
} from '../kit/options.ts'
import type { ScanRequest } from '../transport/admin.ts'
import type { BrowsedEvent } from './browsed-event.ts'
import { checkEventFilter, type EventFilter, matchesFilter, time } from './event-filter.ts'

/** How far a search has read. */
export interface BrowseProgress {
  /** Events that were read. */
  readonly scanned: number
  /** Events that matched. */
  readonly matched: number
  /** Events in the range at the start; undefined if unknown. */
  readonly total: number | undefined
  /** Pass it as `from` to continue; undefined before the first event. */
  readonly position: string | undefined
  /** Why the search ended: the range, `limit` or `maxScanned` was reached, or the signal aborted. Undefined while it runs. */
  readonly ended: 'end' | 'limit' | 'maxScanned' | 'aborted' | undefined
}

/** Limits of a search, and a report of its progress. */
export interface ScanOptions {
  /** Maximum number of events to read. Default Infinity. */
  readonly maxScanned?: number
  /** Called after each page, and at the end. */
  readonly onProgress?: (progress: BrowseProgress) => void
  /** Ends the search. It then returns what it has found, and reports `aborted`. */
  readonly signal?: AbortSignal
}

/** Which events to read, in which direction. */
export interface BrowseQuery extends ScanOptions {
  /**
   * Where to start: `'first'`, `'last'`, a time, or the `position` of an event, which is left out. Default `'first'`, and
   * `'last'` for the direction `'backward'`.
   */
  readonly from?: Date | string
  /** `'forward'` (default): oldest first. */
  readonly direction?: 'forward' | 'backward'
  readonly filter?: EventFilter
  /** Maximum number of events to return. Default 100. */
  readonly limit?: number
}

/** Options of a search for one event. It reads the newest events first. */
export interface FindOptions extends ScanOptions {
  /** Start here instead of at the last event. */
  readonly from?: Date | string
  /** The aggregate of the event, if it is known. On Redis and Kafka with partitions, only one of them is read then. */
  readonly aggregateId?: string
}

/** A range of a log or a store. */
export interface Scan<T = BrowsedEvent> {
  readonly total: number | undefined
  /** Ends at the end that the log had when the range was opened. */
  readonly pages: AsyncIterable<readonly T[]>
}

/** Opens a range. */
export type OpenScan<T = BrowsedEvent> = (request: ScanRequest) => Promise<Scan<T>>

const defaults = {
  from: undefined as Date | string | undefined,
  direction: 'forward' as 'forward' | 'backward',
  filter: {} as EventFilter,
  limit: 100,
  maxScanned: Number.POSITIVE_INFINITY,
  onProgress: undefined as ((progress: BrowseProgress) => void) | undefined,
  signal: undefined as AbortSignal | undefined,
}

export const anyObject: OptionRule = {
  rule: 'an object',
  isValid: (value) => typeof value === 'object' && value !== null,
}

export const aFunction: OptionRule = { rule: 'a function', isValid: (value) => typeof value === 'function' }

export const aSignal: OptionRule = {
  rule: 'an AbortSignal',
  isValid: (value) => value instanceof AbortSignal,
}

const rules: Readonly<Record<keyof typeof defaults, OptionRule>> = {
  from: optional({
    rule: "'first', 'last', a valid Date, or the position of an event",
    isValid: (value) => (typeof value === 'string' && value !== '') || time.isValid(value),
  }),
  direction: oneOf('forward', 'backward'),
  filter: anyObject,
  limit: positiveIntegerOrInfinity,
  maxScanned: positiveIntegerOrInfinity,
  onProgress: optional(aFunction),
  signal: optional(aSignal),
}

/** Reads events of a range that match a filter. @throws ConfigError */
export async function* browseEvents(open: OpenScan, given: BrowseQuery): AsyncGenerator<BrowsedEvent> {
  const query = resolveOptions('browse', given, defaults, rules)
  checkEventFilter('browse: filter', query.filter)
  const { direction, filter, limit, maxScanned, onProgress, signal } = query
  const from = query.from ?? (direction === 'forward' ? 'first' : 'last')
  const { total, pages } = await open({ from, direction, aggregateId: filter.aggregateId })
  let [scanned, matched] = [0, 0]
  let last: BrowsedEvent | undefined
  const report = (ended: BrowseProgress['ended']) =>
    onProgress?.({ scanned, matched, total, position: last?.position, ended })
  for await (const page of pages) {
    for (const found of page) {
      if (signal?.aborted === true) return report('aborted')
      if (scanned >= maxScanned) return report('maxScanned')
      scanned += 1
      last = found
      if (!matchesFilter(found, filter)) continue
      matched += 1
      // Before the event: a caller that has what it wants does not ask for another one.
      if (matched >= limit) report('limit')
      yield found
      if (matched >= limit) return
    }
    report(undefined)
  }
  report(signal?.aborted === true ? 'aborted' : 'end')
}

/** The newest event with an id. */
export async function findEvent(
  open: OpenScan,
  eventId: string,
  { aggregateId, ...options }: FindOptions,
): Promise<BrowsedEvent | undefined> {
  const filter = { eventId, ...(aggregateId === undefined ? {} : { aggregateId }) }
  const query: BrowseQuery = { ...options, direction: 'backward', filter, limit: 1 }
  for await (const found of browseEvents(open, query)) return found
  return undefined
}
