import {
  type BrowsedEvent,
  type BrowseProgress,
  type BrowseQuery,
  browseEvents,
  findEvent,
  type OpenScan,
} from '../../browsing/index.ts'
import {
  nonEmptyText,
  type OptionRule,
  optional,
  positiveInteger,
  resolveOptions,
} from '../../kit/options.ts'
import type { TransportAdmin } from '../../transport/admin.ts'
import { HistoryUnavailableError } from '../../transport/errors.ts'
import { type GroupProgress, progressOf } from '../../transport/group-progress.ts'
import type {
  EventExplanation,
  ExplainedGroup,
  ExplainOptions,
  LetterSource,
  SearchReport,
} from '../event-explanation.ts'
import { BrowsedMessage } from './browsed-message.ts'

export interface ExplainParts {
  readonly open: OpenScan
  readonly transport: Pick<TransportAdmin, 'progress'>
  readonly letters: LetterSource
}

/** An effect may have an earlier time than its cause, by the difference of two clocks, in milliseconds. */
const CLOCK_MARGIN_MS = 10_000
const MAX_CAUSED = 1000
const MAX_LETTERS = 100

const defaults = {
  aggregateId: undefined as string | undefined,
  from: undefined as Date | string | undefined,
  maxScanned: 100_000,
  signal: undefined as AbortSignal | undefined,
}

// The searches check the place and the signal.
const anything: OptionRule = { rule: 'anything', isValid: () => true }
const rules: Readonly<Record<keyof typeof defaults | 'eventId', OptionRule>> = {
  eventId: nonEmptyText,
  aggregateId: optional(nonEmptyText),
  from: anything,
  maxScanned: positiveInteger,
  signal: anything,
}

/** Where an event is, and what the groups have done with it. @throws ConfigError. @throws ConnectionError */
export async function explainEvent(
  { open, transport, letters }: ExplainParts,
  eventId: string,
  options: ExplainOptions,
): Promise<EventExplanation> {
  const settings = resolveOptions(
    'admin.explain',
    { ...options, eventId },
    { ...defaults, eventId: '' },
    rules,
  )
  const { aggregateId, from, maxScanned, signal } = settings
  const search = new Search({ maxScanned, ...(signal && { signal }) })
  const found = await search.run((query) =>
    findEvent(open, eventId, { ...query, ...(aggregateId && { aggregateId }), ...(from && { from }) }),
  )
  const published = found instanceof BrowsedMessage ? found : undefined
  const following = new Search({ maxScanned, ...(signal && { signal }) })
  // A dead letter is stored before its message is settled: read in this order, an event is never in neither place.
  const progress = await transport.progress({ eventId, scanned: published?.scanned })
  const [deadLetters, caused] = await Promise.all([
    lettersOf(letters, eventId, { maxScanned, ...(signal && { signal }) }),
    published && following.run((query) => causedBy(open, eventId, published, query)),
  ])
  return {
    eventId,
    published,
    search: search.report,
    groups: groupsOf(progress, deadLetters),
    deadLetters,
    caused: caused ?? [],
    causedSearch: published && following.report,
  }
}

async function lettersOf(
  letters: LetterSource,
  eventId: string,
  bounds: { readonly maxScanned: number; readonly signal?: AbortSignal },
): Promise<EventExplanation['deadLetters']> {
  const found = await letters?.list({ filter: { eventId }, order: 'newest', limit: MAX_LETTERS, ...bounds })
  return found?.deadLetters.toReversed() ?? []
}

/** One search, and how far it went. */
class Search {
  readonly #query: Pick<BrowseQuery, 'maxScanned' | 'signal'>
  #last: BrowseProgress | undefined
  #unavailable: string | undefined

  constructor(query: Pick<BrowseQuery, 'maxScanned' | 'signal'>) {
    this.#query = query
  }

  /** @returns undefined if nothing keeps past events. */
  async run<T>(search: (query: BrowseQuery) => Promise<T>): Promise<T | undefined> {
    const onProgress = (progress: BrowseProgress) => {
      this.#last = progress
    }
    try {
      return await search({ ...this.#query, onProgress })
    } catch (error) {
      if (!(error instanceof HistoryUnavailableError)) throw error
      this.#unavailable = error.message
      return undefined
    }
  }

  get report(): SearchReport {
    const { scanned = 0, total, ended = 'end' } = this.#last ?? {}
    const remark = this.#unavailable
    return { scanned, total, ended: remark === undefined ? ended : 'unavailable', remark }
  }
}

async function causedBy(
  open: OpenScan,
  eventId: string,
  cause: BrowsedEvent,
  query: BrowseQuery,
): Promise<readonly BrowsedEvent[]> {
  const { correlationId, storedAt, occurredAt, position } = cause
  const at = storedAt ?? occurredAt
  const from = at === undefined ? position : new Date(at.getTime() - CLOCK_MARGIN_MS)
  const filter = correlationId === undefined ? { causationId: eventId } : { correlationId }
  const related: BrowsedEvent[] = []
  for await (const found of browseEvents(open, { ...query, from, filter, limit: MAX_CAUSED }))
    related.push(found)
  return descendants(related, eventId)
}

/** An effect may stand before its cause, because partitions are merged by their times. */
function descendants(related: readonly BrowsedEvent[], eventId: string): readonly BrowsedEvent[] {
  const ids = new Set([eventId])
  for (let before = 0; before !== ids.size; ) {
    before = ids.size
    for (const found of related) {
      if (ids.has(found.causationId ?? '') && found.eventId !== undefined) ids.add(found.eventId)
    }
  }
  return related.filter(({ causationId, eventId: id }) => id !== eventId && ids.has(causationId ?? ''))
}

function groupsOf(
  progress: readonly GroupProgress[],
  letters: EventExplanation['deadLetters'],
): readonly ExplainedGroup[] {
  const byGroup = Map.groupBy(letters, ({ consumerGroup }) => consumerGroup)
  const known = new Set(progress.map(({ group }) => group))
  const former = [...byGroup.keys()].filter((group) => group !== undefined && !known.has(group))
  const all = [...progress, ...former.map((group) => progressOf(group ?? '', 'settled'))]
  return all
    .toSorted((a, b) => (a.group < b.group ? -1 : 1))
    .map((one) => {
      const deadLetters = byGroup.get(one.group) ?? []
      const isOver = one.state === 'settled' || one.state === 'unknown'
      return { ...one, state: isOver && deadLetters.length > 0 ? 'deadLetter' : one.state, deadLetters }
    })
}
