import type { EventFeed, FeedPage } from '../store/index.ts'
import { checkMark } from './checkpoint-origin.ts'
import { PositionAheadError } from './errors.ts'
import type { FeedMark } from './feed-mark.ts'

/** Minimum time that the replacement of a store takes, in milliseconds. */
const REPLACEMENT_MS = 250

/**
 * Detects, while a subscription runs, that the store was restored to an earlier state or replaced by a standby that
 * lacks some events.
 */
export class FeedContinuity {
  readonly #store: EventFeed
  readonly #name: string
  #mark: FeedMark
  #readAt = performance.now()

  /** @param start - the mark at which the run starts; it has already been checked. */
  constructor(store: EventFeed, name: string, start: FeedMark) {
    this.#store = store
    this.#name = name
    this.#mark = start
  }

  /**
   * Checks the last mark after each page. The event of the mark is looked up, unless the page was read soon after the
   * previous one. The check follows the page, so that a replacement between the two is detected. A page
   * may have the event with it, which needs no further read.
   *
   * @param page - the events after the mark.
   * @param readAt - when it was read, by the monotonic clock.
   * @throws ForeignCheckpointError, PositionAheadError
   */
  async check({ head, fromEventId }: FeedPage, readAt: number): Promise<void> {
    const { position, eventId } = this.#mark
    if (position > head) throw new PositionAheadError(this.#name, position, head)
    const isFresh = readAt - this.#readAt < REPLACEMENT_MS
    if (isFresh || head === position || (eventId !== undefined && fromEventId === eventId)) return
    await checkMark(this.#store, this.#name, this.#mark)
  }

  /** A read failed: the next page may come from another server. */
  interrupted(): void {
    this.#readAt = Number.NEGATIVE_INFINITY
  }

  /**
   * Records that everything up to the mark was read. Undefined means that nothing new was read.
   * @param readAt - when the page was read, by the monotonic clock.
   */
  passed(mark: FeedMark | undefined, readAt: number): void {
    if (mark !== undefined) this.#mark = mark
    this.#readAt = readAt
  }
}
