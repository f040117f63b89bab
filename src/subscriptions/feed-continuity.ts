import type { EventFeed, FeedPage } from '../store/index.ts'
import { checkMark } from './checkpoint-origin.ts'
import { PositionAheadError } from './errors.ts'
import type { FeedMark } from './feed-mark.ts'

/** A store cannot be replaced in less time than this between two reads, in milliseconds. */
const REPLACEMENT_MS = 250

/**
 * Detects that the store was restored to an earlier state, or replaced by a standby that had less, while a subscription
 * runs.
 */
export class FeedContinuity {
  readonly #store: EventFeed
  readonly #name: string
  #mark: FeedMark
  #readAt = performance.now()

  /** @param start - where the run starts; it was checked already. */
  constructor(store: EventFeed, name: string, start: FeedMark) {
    this.#store = store
    this.#name = name
    this.#mark = start
  }

  /**
   * Checks the last mark after each page, by its event unless the page was read soon after the one before. The page may
   * have the event with it; otherwise the check follows the page, so that both cannot be answered by different stores
   * without notice.
   *
   * @param page - the events after the mark.
   * @throws ForeignCheckpointError, PositionAheadError
   */
  async check({ head, fromEventId }: FeedPage): Promise<void> {
    const { position, eventId } = this.#mark
    if (position > head) throw new PositionAheadError(this.#name, position, head)
    const isFresh = performance.now() - this.#readAt < REPLACEMENT_MS
    if (isFresh || head === position || (eventId !== undefined && fromEventId === eventId)) return
    await checkMark(this.#store, this.#name, this.#mark)
  }

  /** A read failed: the next page may come from another server. */
  interrupted(): void {
    this.#readAt = Number.NEGATIVE_INFINITY
  }

  /** Everything up to the mark was read; nothing new if it is undefined. */
  passed(mark: FeedMark | undefined): void {
    if (mark !== undefined) this.#mark = mark
    this.#readAt = performance.now()
  }
}
