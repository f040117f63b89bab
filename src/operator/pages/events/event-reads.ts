import type { BrowseProgress, EventFilter } from '../../../browsing/index.ts'
import type { EventBus, EventExplanation, ExplainOptions } from '../../../bus/index.ts'
import { BackgroundReads, type Read, type Reading } from '../../background-reads.ts'
import type { StateKey } from '../../state.ts'
import { type EventRow, rowOf } from './event-row.ts'
import { readTrace, type Trace, type TraceQuery } from './trace.ts'

/** Most events that are read for one page of the list. */
export const MAX_SCANNED = 100_000
/** Events on a page. */
export const PAGE_SIZE = 50
/** How long a page waits for what it shows, in milliseconds. After that, it shows what was found so far. */
const WAIT_MS = { list: 150, explanation: 1000, trace: 150 }
/** How long a result is shown again, in milliseconds. A search with a filter may read much. */
const FRESH_MS = { list: 1000, search: 10_000, explanation: 2000, trace: 5000 }

/** What a search has found so far. */
export interface EventSearch extends Pick<BrowseProgress, 'scanned' | 'total' | 'position' | 'ended'> {
  readonly rows: readonly EventRow[]
}

/** What a page of the list is of. */
export interface SearchQuery {
  readonly bus: string
  readonly filter: EventFilter
  /** The line of the filter, which identifies it. */
  readonly line: string
  /** The position behind which it starts; undefined for the newest event. */
  readonly from: string | undefined
  /** Leaves out what only a masked value has made match. */
  readonly isShown: (found: Parameters<typeof rowOf>[0]) => boolean
}

/** Where an event is searched. */
export interface EventQuery extends ExplainOptions {
  readonly bus: string
  readonly id: string
}

/** What a page shows of an explanation. What the event caused is shown by its trace. */
export type Explanation = Omit<EventExplanation, 'caused'>

/** Reads events for all viewers of a handler, within limits, and continues while a page is being built. */
export class EventReads {
  static readonly key: StateKey<EventReads> = { create: ({ closed }) => new EventReads(closed) }

  readonly #searches: BackgroundReads<EventSearch>
  readonly #explanations: BackgroundReads<Explanation>
  readonly #traces: BackgroundReads<Trace>

  private constructor(closed: AbortSignal) {
    this.#searches = new BackgroundReads(closed)
    this.#explanations = new BackgroundReads(closed)
    this.#traces = new BackgroundReads(closed)
  }

  search(bus: EventBus, query: SearchQuery): Promise<Reading<EventSearch>> {
    const freshMs = query.line === '' ? FRESH_MS.list : FRESH_MS.search
    return this.#searches.get(keyOf(query), searchOf(bus, query), { waitMs: WAIT_MS.list, freshMs })
  }

  /** Ends a search at the broker. @returns what it has found; undefined if it does not run. */
  stop(query: SearchQuery): Promise<EventSearch | undefined> {
    return this.#searches.stop(keyOf(query))
  }

  explanation(bus: EventBus, { bus: name, id, ...options }: EventQuery): Promise<Reading<Explanation>> {
    const { aggregateId, from } = options
    return this.#explanations.get(
      JSON.stringify([name, id, aggregateId, from]),
      async ({ signal }) => {
        const { caused: _, ...rest } = await bus.admin.explain(id, { ...options, signal })
        return rest
      },
      { waitMs: WAIT_MS.explanation, freshMs: FRESH_MS.explanation },
    )
  }

  trace(query: TraceQuery): Promise<Reading<Trace>> {
    const { id, correlationId, buses } = query
    return this.#traces.get(
      JSON.stringify([[...buses.keys()], correlationId ?? id]),
      (parts) => readTrace(query, parts),
      { waitMs: WAIT_MS.trace, freshMs: FRESH_MS.trace },
    )
  }
}

function keyOf({ bus, line, from }: SearchQuery): string {
  return JSON.stringify([bus, line, from])
}

function searchOf(bus: EventBus, { filter, from, isShown }: SearchQuery): Read<EventSearch> {
  return async ({ signal, report }) => {
    const rows: EventRow[] = []
    let progress: Omit<EventSearch, 'rows'> = {
      ...{ scanned: 0, total: undefined },
      ...{ position: undefined, ended: undefined },
    }
    const found = bus.admin.browse({
      ...{ filter, direction: 'backward', maxScanned: MAX_SCANNED, signal },
      ...(from !== undefined && { from }),
      limit: filter.text === undefined ? PAGE_SIZE : Number.POSITIVE_INFINITY,
      onProgress: ({ scanned, total, position, ended }) => {
        progress = { scanned, total, position, ended }
        report({ rows: [...rows], ...progress })
      },
    })
    for await (const event of found) {
      if (!isShown(event)) continue
      rows.push(rowOf(event))
      if (rows.length < PAGE_SIZE) continue
      progress = { ...progress, position: event.position, ended: 'limit' }
      break
    }
    return { rows, ...progress }
  }
}
