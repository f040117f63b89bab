import { type EventFeed, STREAM_DELETED, StoreUnavailableError } from '../store/index.ts'
import type { Checkpoint } from './checkpoint-store.ts'
import { ForeignCheckpointError, PositionAheadError } from './errors.ts'
import type { FeedMark } from './feed-mark.ts'

/**
 * Checks that a checkpoint belongs to the feed of this store.
 * @throws ForeignCheckpointError, PositionAheadError
 */
export async function checkOrigin(
  store: EventFeed,
  name: string,
  { position, storeId, eventId }: Checkpoint,
): Promise<void> {
  const identity = await store.identity()
  if (storeId !== undefined && storeId !== identity) {
    throw new ForeignCheckpointError(
      name,
      position,
      `it was saved for the store ${storeId}, this is ${identity}`,
    )
  }
  await checkMark(store, name, { position, eventId })
}

/**
 * Checks that the feed still has the event of a mark at its position. The event is missing after a restore to an
 * earlier state, or after a failover to a standby that lacks some events.
 * @throws ForeignCheckpointError, PositionAheadError
 */
export async function checkMark(
  store: EventFeed,
  name: string,
  { position, eventId }: FeedMark,
): Promise<void> {
  if (position === 0) return
  const page = await store.readPage({ fromPosition: position - 1, toPosition: position, limit: 1 })
  if (position > page.head) throw new PositionAheadError(name, position, page.head)
  if (eventId === undefined) return
  const found = page.events[0]?.event.eventId
  if (found === eventId) return
  if (found === undefined && (await mayBeGone(store, position, eventId))) return
  const place = found === undefined ? 'which is not in the store' : `and event ${found} is there`
  const detail = `it was saved after event ${eventId}, ${place}: the store was restored to an earlier state`
  throw new ForeignCheckpointError(name, position, detail)
}

/**
 * True if an event may be missing at its position without a restore: because it was archived, removed, or deleted with
 * its stream.
 */
async function mayBeGone(store: EventFeed, position: number, eventId: string): Promise<boolean> {
  if (store.eventExists === undefined || (await store.eventExists(eventId))) return true
  const { heldBack } = await store.health()
  // If a stream was deleted since then, its tombstone is after the position.
  const { events } = await store.readPage({ fromPosition: position, eventTypes: [STREAM_DELETED], limit: 1 })
  if (events.length > 0) return true
  if (heldBack === undefined) return false
  throw new StoreUnavailableError(
    'The feed',
    'an open append holds the feed back, and may hide the deletion of a stream',
  )
}
