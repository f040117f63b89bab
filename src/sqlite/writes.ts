import type { EventRow, StoredRow } from '../store/event-row.ts'
import type { AppendResult, Snapshot, StreamName } from '../store/index.ts'
import type { Lease, ParkedEvent } from '../subscriptions/index.ts'
import { append, endOfStream, INSERT, timeOfNext } from './append.ts'
import { type CheckpointArguments, type FoundCheckpoint, saveCheckpointIn } from './checkpoint-row.ts'
import { effectWrites } from './effect-writes.ts'
import { STORED_COLUMNS, valuesOf } from './rows.ts'
import type { SqliteStatements } from './statements.ts'

export interface LeaseArguments {
  readonly name: string
  readonly owner: string
  readonly ttlMs: number
}

/** A snapshot with its state as JSON. */
export type SnapshotRow = Omit<Snapshot, 'state' | 'takenAt'> & {
  readonly state: string
  readonly takenAt: number
}

/** A parked event with its event as JSON of a `StoredRow`. */
export type ParkedRow = Omit<ParkedEvent, 'event' | 'firstFailedAt' | 'failedAt'> & {
  readonly event: string
  readonly firstFailedAt: number
  readonly failedAt: number
}

/** The part of the feed to archive. */
export type ArchiveArguments = StreamName | { readonly upTo: number }

/** Maximum number of rows per step of an import or an archive, so that other writes can run in between. */
export const MOVE_BATCH = 1000

/**
 * All writes, as functions of a connection inside a transaction. Arguments and results are plain data, and expected
 * refusals are results, so a write runs in the same way in a worker, in a shared transaction, and in a user's
 * transaction.
 */
export const writes = {
  append,
  ...effectWrites,

  /** @param tombstone - the event that gets the stream's next version. */
  deleteStream(
    db: SqliteStatements,
    { stream, tombstone }: { stream: StreamName; tombstone: EventRow },
  ): AppendResult {
    const { aggregateId, aggregateType } = stream
    const { version, isDeleted, position } = endOfStream(db, stream)
    if (version === 0 || isDeleted) return { newVersion: version, globalPosition: position }
    const globalPosition = db.insert(INSERT, timeOfNext(db), version + 1, ...valuesOf(tombstone))
    for (const table of ['eventspine_events', 'eventspine_archive']) {
      db.run(
        `delete from ${table} where aggregate_id = ? and aggregate_type = ? and aggregate_version <= ?`,
        ...[aggregateId, aggregateType, version],
      )
    }
    db.run(
      'delete from eventspine_snapshots where aggregate_type = ? and aggregate_id = ?',
      aggregateType,
      aggregateId,
    )
    return { newVersion: version + 1, globalPosition }
  },

  saveSnapshot(db: SqliteStatements, snapshot: SnapshotRow): void {
    const { aggregateType, aggregateId, version, schemaVersion, state, takenAt } = snapshot
    db.run(
      `insert into eventspine_snapshots (aggregate_type, aggregate_id, version, schema_version, state, taken_at)
       values (?, ?, ?, ?, ?, ?)
       on conflict do update set version = excluded.version, schema_version = excluded.schema_version,
         state = excluded.state, taken_at = excluded.taken_at
       where excluded.schema_version <> eventspine_snapshots.schema_version
         or excluded.version >= eventspine_snapshots.version`,
      ...[aggregateType, aggregateId, version, schemaVersion, state, takenAt],
    )
  },

  deleteSnapshot(db: SqliteStatements, { aggregateType, aggregateId }: StreamName): void {
    db.run(
      'delete from eventspine_snapshots where aggregate_type = ? and aggregate_id = ?',
      aggregateType,
      aggregateId,
    )
  },

  saveCheckpoint(db: SqliteStatements, args: CheckpointArguments): FoundCheckpoint | undefined {
    return saveCheckpointIn(db, 'eventspine_checkpoints', args)
  },

  acquireLease(db: SqliteStatements, { name, owner, ttlMs }: LeaseArguments): Lease | undefined {
    const now = Date.now()
    const row = db.get('select owner, fence, expires_at from eventspine_leases where name = ?', name)
    const isOwn = row?.['owner'] === owner
    if (row !== undefined && !isOwn && Number(row['expires_at']) > now) return undefined
    const present = Number(row?.['fence'] ?? 0)
    const fence = isOwn ? present : Math.max(present + 1, now)
    db.run(
      'insert or replace into eventspine_leases (name, owner, fence, expires_at) values (?, ?, ?, ?)',
      ...[name, owner, fence, now + ttlMs],
    )
    return { fence }
  },

  /** Keeps the row with its fencing number. */
  releaseLease(db: SqliteStatements, { name, owner }: Omit<LeaseArguments, 'ttlMs'>): boolean {
    const sql = "update eventspine_leases set owner = '', expires_at = 0 where name = ? and owner = ?"
    return db.run(sql, name, owner) > 0
  },

  park(db: SqliteStatements, parked: ParkedRow): void {
    db.run(
      `insert or replace into eventspine_parked_events (subscription, position, handler_names, error_name, error_message,
         error_stack, attempts, first_failed_at, failed_at, event) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      ...[parked.subscription, parked.position, JSON.stringify(parked.handlerNames), parked.errorName],
      ...[
        parked.errorMessage,
        parked.errorStack ?? null,
        parked.attempts,
        parked.firstFailedAt,
        parked.failedAt,
        parked.event,
      ],
    )
  },

  unpark(
    db: SqliteStatements,
    { subscription, position }: { subscription: string; position: number },
  ): boolean {
    const sql = 'delete from eventspine_parked_events where subscription = ? and position = ?'
    return db.run(sql, subscription, position) > 0
  },

  /** @returns the number of removed events, at most {@link MOVE_BATCH}. */
  pruneParked(db: SqliteStatements, { failedBefore }: { failedBefore: number }): number {
    return db.run(
      `delete from eventspine_parked_events where (subscription, position) in
         (select subscription, position from eventspine_parked_events where failed_at < ? limit ${MOVE_BATCH})`,
      failedBefore,
    )
  },

  /** Inserts events with their positions after the end of the feed. Events that are already stored are skipped. */
  importRows(
    db: SqliteStatements,
    { rows }: { rows: readonly StoredRow[] },
  ): { imported: number; refused?: number } {
    let imported = 0
    let end = endOfFeed(db)
    const last = db.get('select max(stored_at) as time from eventspine_events where position = ?', end)
    let storedAt = Number(last?.['time'] ?? 0)
    for (const row of rows) {
      if (row.position <= end) {
        const there = db.get('select event_id from eventspine_events where position = ?', row.position)
        if (there?.['event_id'] === row.eventId) continue
        return { imported, refused: row.position }
      }
      storedAt = Math.max(row.storedAt.getTime(), storedAt)
      db.run(INSERT_AT, row.position, storedAt, row.aggregateVersion, ...valuesOf(row))
      end = row.position
      imported += 1
    }
    return { imported }
  },

  /**
   * @returns the number of moved events, at most {@link MOVE_BATCH}, or the subscription whose checkpoint is before the
   * events.
   */
  archive(db: SqliteStatements, args: ArchiveArguments): { moved: number; behind?: string } {
    const [where, ...values] =
      'upTo' in args
        ? ['position <= ?', args.upTo]
        : ['aggregate_id = ? and aggregate_type = ?', args.aggregateId, args.aggregateType]
    const last = db.get(
      `select max(position) as position from (select position from eventspine_events where ${where} order by position limit ${MOVE_BATCH})`,
      ...values,
    )
    const upTo = Number(last?.['position'] ?? 0)
    const behind = db.get('select name from eventspine_checkpoints where position < ? limit 1', upTo)
    if (behind !== undefined) return { moved: 0, behind: String(behind['name']) }
    db.run(
      `insert into eventspine_archive (${STORED_COLUMNS}) select ${STORED_COLUMNS} from eventspine_events where ${where} and position <= ?`,
      ...[...values, upTo],
    )
    return {
      moved: db.run(`delete from eventspine_events where ${where} and position <= ?`, ...values, upTo),
    }
  },
}

const INSERT_AT = INSERT.replace('(', '(position, ').replace('values (', 'values (?, ')

/** The last position that was assigned. */
export function endOfFeed(db: SqliteStatements): number {
  const row = db.get("select seq from sqlite_sequence where name = 'eventspine_events'")
  return Number(row?.['seq'] ?? 0)
}

export type Writes = typeof writes
export type WriteName = keyof Writes
export type ArgumentsOf<N extends WriteName> = Parameters<Writes[N]>[1]
export type ResultOf<N extends WriteName> = ReturnType<Writes[N]>

/** A write as plain data. */
export interface Write {
  readonly name: WriteName
  readonly args: unknown
}

/** Runs a write. Its name determines the types of its arguments. */
export function runWrite(db: SqliteStatements, { name, args }: Write): unknown {
  // The queue accepts only arguments that match the name, and only this function reads them.
  return (writes[name] as (db: SqliteStatements, args: unknown) => unknown)(db, args)
}
