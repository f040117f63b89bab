import type {
  DeadLetterFilter,
  DeadLetterList,
  DeadLetterQueue,
  SummaryProgress,
} from '../../../bus/index.ts'
import { BackgroundReads, type Reading } from '../../background-reads.ts'
import type { StateKey } from '../../state.ts'

/** Most dead letters that are read to count and to group them. */
const MAX_COUNTED = 500_000
/** Most dead letters that are read for one page of the list. */
const MAX_SCANNED = 20_000
/** Dead letters on a page. */
export const PAGE_SIZE = 50
/** How long a page waits for its letters, and for their counts, in milliseconds. */
const WAIT_MS = { list: 150, counts: 100 }
/** How long a list, and counts, are shown again, in milliseconds. */
const FRESH_MS = { list: 1000, counts: 5000 }

/** What a list is of. */
export interface ListQuery {
  readonly bus: string
  readonly filter: DeadLetterFilter
  /** The line of the filter, which identifies it. */
  readonly line: string
  readonly order: 'oldest' | 'newest'
  readonly cursor: string | undefined
}

/** Reads dead letters for all viewers of a handler, so that 100,000 of them hold no page up. */
export class LetterReads {
  static readonly key: StateKey<LetterReads> = { create: ({ closed }) => new LetterReads(closed) }

  readonly #lists: BackgroundReads<DeadLetterList>
  readonly #counts: BackgroundReads<SummaryProgress>

  private constructor(closed: AbortSignal) {
    this.#lists = new BackgroundReads(closed)
    this.#counts = new BackgroundReads(closed)
  }

  list(
    queue: DeadLetterQueue,
    { bus, filter, line, order, cursor }: ListQuery,
  ): Promise<Reading<DeadLetterList>> {
    const key = JSON.stringify([bus, line, order, cursor])
    const options = { filter, order, limit: PAGE_SIZE, maxScanned: MAX_SCANNED }
    return this.#lists.get(
      key,
      ({ signal }) => queue.list({ ...options, signal, ...(cursor !== undefined && { cursor }) }),
      { waitMs: WAIT_MS.list, freshMs: FRESH_MS.list },
    )
  }

  /** The dead letters that match, counted by their errors. */
  counts(
    queue: DeadLetterQueue,
    { bus, filter, line }: Pick<ListQuery, 'bus' | 'filter' | 'line'>,
    { waitMs = WAIT_MS.counts, freshMs = FRESH_MS.counts } = {},
  ): Promise<Reading<SummaryProgress>> {
    return this.#counts.get(
      JSON.stringify([bus, line]),
      async ({ signal, report }) => {
        let total = 0
        const summary = await queue.summary({
          ...{ by: 'error', filter, maxScanned: MAX_COUNTED, signal },
          onProgress: (progress) => {
            total = progress.total
            report(progress)
          },
        })
        return { ...summary, total: Math.max(total, summary.scanned) }
      },
      { waitMs, freshMs },
    )
  }

  /** The dead letters of a bus were changed. */
  forget(bus: string): void {
    const prefix = `[${JSON.stringify(bus)},`
    this.#lists.forget(prefix)
    this.#counts.forget(prefix)
  }
}
