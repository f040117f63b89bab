import type { EventFeed } from '../store/index.ts'
import type { Checkpoint } from './checkpoint-store.ts'
import { ForeignCheckpointError, PositionAheadError } from './errors.ts'

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
  const head = await store.headPosition()
  if (position > head) throw new PositionAheadError(name, position, head)
  if (position === 0 || eventId === undefined) return
  const page = await store.readPage({ fromPosition: position - 1, toPosition: position, limit: 1 })
  const found = page.events[0]?.event.eventId
  // A missing event proves nothing, because it may be deleted or archived. Another event at its position does.
  if (found === undefined || found === eventId) return
  const detail = `it was saved after event ${eventId}, and event ${found} is there: the store was restored to an earlier state`
  throw new ForeignCheckpointError(name, position, detail)
}
