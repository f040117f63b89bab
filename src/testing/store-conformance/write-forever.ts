import type { EventStore, StreamStore } from '../../store/index.ts'
import { appendTo, noted } from './stored-events.ts'

/** Number of events in each transaction of `writeForever`. */
export const KILLED_BATCH = 3

/**
 * Writes to a store until its process is killed. Call it in the program that `startWriter` starts.
 *
 * @param transaction - runs work in one transaction; without it, each append is its own transaction.
 * @param confirm - called with the ids of the events after each commit.
 */
export async function writeForever(
  store: EventStore,
  confirm: (eventIds: readonly string[]) => void,
  transaction?: (work: (events: StreamStore) => Promise<void>) => Promise<unknown>,
): Promise<never> {
  const aggregateId = `killed-${process.pid}`
  for (let round = 0; ; round += 1) {
    const events = Array.from({ length: KILLED_BATCH }, (_, index) => noted(aggregateId, index))
    if (transaction === undefined || round % 2 === 0) {
      await store.appendEvents({ aggregateId, aggregateType: 'Note', events, expectedVersion: 'any' })
    } else {
      await transaction(async (tx) => {
        for (const event of events) await appendTo(tx, event)
      })
    }
    confirm(events.map(({ eventId }) => eventId))
  }
}
