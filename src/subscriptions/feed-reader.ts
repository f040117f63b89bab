import type { EventFeed, FeedFilter, FeedPage } from '../store/index.ts'

/** A page of the feed as it was read. */
export interface ReadPage {
  readonly page: FeedPage
  /** When the read ended, by the monotonic clock. */
  readonly readAt: number
  /** True if it was read before the previous page was handled. */
  readonly wasAhead: boolean
}

interface Ahead {
  readonly fromPosition: number
  readonly reading: Promise<ReadPage>
}

export interface FeedReaderParts {
  readonly store: EventFeed
  readonly filter: FeedFilter
  /** Number of events in a page. */
  readonly limit: number
  /** True if events whose stored text can be published may come undecoded. */
  readonly undecoded: () => boolean
}

/** Reads the pages of the feed for one subscription, on request one page ahead. */
export class FeedReader {
  readonly #parts: FeedReaderParts
  #ahead: Ahead | undefined

  constructor(parts: FeedReaderParts) {
    this.#parts = parts
  }

  /** The page after a position. @throws what the store throws, also if the page was read ahead. */
  next(fromPosition: number): Promise<ReadPage> {
    const ahead = this.#ahead
    this.#ahead = undefined
    return ahead?.fromPosition === fromPosition ? ahead.reading : this.#read(fromPosition, false)
  }

  /** Starts to read the page after a position, which `next` returns. */
  readAhead(fromPosition: number): void {
    const reading = this.#read(fromPosition, true)
    reading.catch(() => undefined) // `next` reports it
    this.#ahead = { fromPosition, reading }
  }

  /** Resolves when no read is in flight. */
  async settled(): Promise<void> {
    await this.#ahead?.reading.catch(() => undefined)
  }

  async #read(fromPosition: number, wasAhead: boolean): Promise<ReadPage> {
    const { store, filter, limit, undecoded } = this.#parts
    const range = { ...filter, fromPosition, limit }
    const page = await store.readPage(undecoded() ? { ...range, undecoded: true } : range)
    return { page, readAt: performance.now(), wasAhead }
  }
}
