import type { StoredEvent } from '../store/index.ts'

/** A place in the feed: a position, and which event it is that lies there. */
export interface FeedMark {
  readonly position: number
  /** Undefined where it is not known. */
  readonly eventId: string | undefined
}

export function markOf({ position, event: { eventId } }: StoredEvent): FeedMark {
  return { position, eventId }
}
