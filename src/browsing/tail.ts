import { optional, positiveIntegerOrInfinity, resolveOptions } from '../kit/options.ts'
import { aFunction, anyObject, aSignal, type Scan } from './browse.ts'
import type { BrowsedEvent } from './browsed-event.ts'
import { checkEventFilter, type EventFilter, matchesFilter } from './event-filter.ts'

/** Which new events to show. */
export interface TailQuery {
  readonly filter?: EventFilter
  /** Ends after this number of events. Default Infinity. */
  readonly limit?: number
  /** Called when every event that is published from now on will be seen. */
  readonly onReady?: () => void
  /** Ends the tail. */
  readonly signal?: AbortSignal
}

/** Follows a log, from its present end. */
export type FollowLog = (aggregateId: string | undefined, signal: AbortSignal) => Promise<Scan>

const defaults = {
  filter: {} as EventFilter,
  limit: Number.POSITIVE_INFINITY,
  onReady: undefined as (() => void) | undefined,
  signal: undefined as AbortSignal | undefined,
}

const rules = {
  filter: anyObject,
  limit: positiveIntegerOrInfinity,
  onReady: optional(aFunction),
  signal: optional(aSignal),
}

/** New events that match a filter, until the caller or the signal ends it. @throws ConfigError */
export async function* tailEvents(follow: FollowLog, given: TailQuery): AsyncGenerator<BrowsedEvent> {
  const { filter, limit, onReady, signal } = resolveOptions('tail', given, defaults, rules)
  checkEventFilter('tail: filter', filter)
  // Ends the reading of the log also if the caller leaves its loop.
  const ended = new AbortController()
  const both = signal === undefined ? ended.signal : AbortSignal.any([signal, ended.signal])
  let matched = 0
  try {
    const { pages } = await follow(filter.aggregateId, both)
    onReady?.()
    for await (const page of pages) {
      for (const found of page) {
        if (both.aborted) return
        if (!matchesFilter(found, filter)) continue
        matched += 1
        yield found
        if (matched >= limit) return
      }
    }
  } finally {
    ended.abort()
  }
}
