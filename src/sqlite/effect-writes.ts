import type { EventRow } from '../store/event-row.ts'
import { PRUNE_BATCH } from '../subscriptions/inbox.ts'
import { type CheckpointArguments, type FoundCheckpoint, saveCheckpointIn } from './checkpoint-row.ts'
import { EVENT_COLUMNS, valuesOf } from './rows.ts'
import type { SqliteStatements } from './statements.ts'

/** A record that a handler has handled an event. */
export interface NoteArguments {
  readonly handlerName: string
  readonly eventId: string
}

/** An event for the outbox. It keeps its aggregate version. */
export type OutgoingRow = EventRow & { readonly aggregateVersion: number }

const columns = ['stored_at', 'aggregate_version', ...EVENT_COLUMNS]
const INSERT = `insert into eventspine_outbox (${columns.join(', ')}) values (${columns.map(() => '?').join(', ')})`

/**
 * Number of rows that one save of a checkpoint may remove in addition to those that the relay has published since the
 * previous save. Published rows are therefore removed faster than they are added, however large a batch is.
 */
const REMOVED_PER_SAVE = 2000

/** The writes of the inbox and the outbox. */
export const effectWrites = {
  /** @returns false if the record already exists. */
  addNote(db: SqliteStatements, { handlerName, eventId }: NoteArguments): boolean {
    const sql =
      'insert into eventspine_inbox (handler, event_id, noted_at) values (?, ?, ?) on conflict do nothing'
    return db.run(sql, handlerName, eventId, Date.now()) > 0
  },

  /** @returns the number of removed records, at most {@link PRUNE_BATCH}. */
  pruneNotes(db: SqliteStatements, { notedBefore }: { readonly notedBefore: number }): number {
    return db.run(
      `delete from eventspine_inbox where (handler, event_id) in
         (select handler, event_id from eventspine_inbox where noted_at < ? limit ${PRUNE_BATCH})`,
      notedBefore,
    )
  },

  addToOutbox(db: SqliteStatements, { rows }: { readonly rows: readonly OutgoingRow[] }): void {
    const last = db.get('select stored_at from eventspine_outbox order by position desc limit 1')
    // Never earlier than the time of the previous event, even if the clock is set back.
    const storedAt = Math.max(Date.now(), Number(last?.['stored_at'] ?? 0))
    for (const row of rows) db.insert(INSERT, storedAt, row.aggregateVersion, ...valuesOf(row))
  },

  /**
   * Saves the checkpoint of a relay, and removes the events that all relays have published. The last of them stays,
   * because it marks the end of the feed.
   */
  saveRelay(db: SqliteStatements, args: CheckpointArguments): FoundCheckpoint | undefined {
    const found = saveCheckpointIn(db, 'eventspine_outbox_relays', args)
    if (found !== undefined) return found
    db.run(
      `delete from eventspine_outbox where position in (select position from eventspine_outbox
         where position < (select min(position) from eventspine_outbox_relays) order by position limit ?)`,
      REMOVED_PER_SAVE + args.checkpoint.position - (args.previous ?? 0),
    )
    return undefined
  },

  removeRelay(db: SqliteStatements, { name }: { readonly name: string }): boolean {
    return db.run('delete from eventspine_outbox_relays where name = ?', name) > 0
  },
}
