import type { StoredEvent } from '../store/index.ts'

/** A position in the feed, and the id of the event at it. */
export interface FeedMark {
  readonly position: number
  /** Undefined if it is unknown. */
  readonly eventId: string | undefined
}

export function markOf({ position, event: { eventId } }: StoredEvent): FeedMark {
  return { position, eventId }
}
