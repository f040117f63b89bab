import {
  type AppendDecision,
  decideAppend,
  type KnownEvent,
  type StreamState,
} from '../store/append-decision.ts'
import type { EventRow } from '../store/event-row.ts'
import { type ExpectedVersion, STREAM_DELETED, type StreamName } from '../store/event-store.ts'
import { EVENT_COLUMNS, READ_COLUMNS, storedRow, valuesOf } from './rows.ts'
import type { SqliteStatements } from './statements.ts'

export interface AppendArguments extends StreamName {
  readonly expectedVersion: ExpectedVersion
  readonly rows: readonly EventRow[]
}

/** The outcome of an append. */
export type AppendOutcome =
  | { readonly outcome: 'stored'; readonly newVersion: number; readonly globalPosition: number }
  | Exclude<AppendDecision, { readonly outcome: 'write' }>

interface StreamEnd extends StreamState {
  readonly position: number
}

const columns = ['stored_at', 'aggregate_version', ...EVENT_COLUMNS]
export const INSERT = `insert into eventspine_events (${columns.join(', ')}) values (${columns.map(() => '?').join(', ')})`
const INSERT_UNLESS_KNOWN = `${INSERT} on conflict (event_id) do nothing`

const streamEnd = (table: string) =>
  `select aggregate_version, event_type, position from ${table} where aggregate_id = ? and aggregate_type = ? order by aggregate_version desc limit 1`
const END = streamEnd('eventspine_events')
const ARCHIVED_END = streamEnd('eventspine_archive')

const knownEvent = (table: string) => `select ${READ_COLUMNS} from ${table} where event_id = ?`
const KNOWN = knownEvent('eventspine_events')
const ARCHIVED = knownEvent('eventspine_archive')

/** Appends events inside the transaction of a connection. A refused append does not change the transaction. */
export function append(db: SqliteStatements, args: AppendArguments): AppendOutcome {
  const feed = feedState(db)
  const end = feed.hasArchive ? endOfStream(db, args) : endIn(END, db, args)
  // The events of nearly every append are new. If one is not, the index on their ids refuses it.
  const decision = args.rows.length === 0 ? undefined : decide(args, end, () => undefined)
  const written =
    decision?.outcome === 'write' ? insertAll(db, feed, args.rows, decision.firstVersion) : undefined
  return written ?? appendSome(db, feed, args, end)
}

/** Handles an empty append, a refused one, and an append of which some events are already stored. */
function appendSome(
  db: SqliteStatements,
  feed: FeedState,
  args: AppendArguments,
  end: StreamEnd,
): AppendOutcome {
  const decision = decide(args, end, (row) => findEvent(db, row))
  if (decision.outcome !== 'write') return decision
  const rows = args.rows.slice(decision.firstIndex)
  if (rows.length === 0) return { outcome: 'stored', newVersion: end.version, globalPosition: end.position }
  // All remaining events were checked and are new.
  const written = insertAll(db, feed, rows, decision.firstVersion)
  if (written === undefined) throw new Error('SQLite refused the ids of an append although they are new')
  return written
}

function decide(
  { rows, ...request }: AppendArguments,
  end: StreamEnd,
  find: (row: EventRow) => KnownEvent | undefined,
): AppendDecision {
  const eventIds = rows.map(({ eventId }) => eventId)
  return decideAppend({ ...request, eventIds }, end, (index) => {
    const row = rows[index]
    return row && find(row)
  })
}

/** @returns undefined if one of the ids is in use; nothing was inserted then. */
function insertAll(
  db: SqliteStatements,
  { storedAt, hasArchive }: FeedState,
  rows: readonly EventRow[],
  firstVersion: number,
): AppendOutcome | undefined {
  let position = 0
  for (const [index, row] of rows.entries()) {
    const isTaken = hasArchive && db.get(ARCHIVED, row.eventId) !== undefined
    const version = firstVersion + index
    position = isTaken ? 0 : db.insert(INSERT_UNLESS_KNOWN, storedAt, version, ...valuesOf(row))
    if (position === 0) {
      undo(db, rows.slice(0, index))
      return undefined
    }
  }
  return { outcome: 'stored', newVersion: firstVersion + rows.length - 1, globalPosition: position }
}

/** Deletes the events that a refused append has inserted. Their positions stay unused. */
function undo(db: SqliteStatements, rows: readonly EventRow[]): void {
  for (const { eventId } of rows) db.run('delete from eventspine_events where event_id = ?', eventId)
}

/** What every append needs to know of the tables. */
interface FeedState {
  /** The time of the next event; never earlier than that of the previous one, even if the clock is set back. */
  readonly storedAt: number
  readonly hasArchive: boolean
}

const FEED_STATE = `select (select stored_at from eventspine_events order by position desc limit 1) as stored_at,
  exists (select 1 from eventspine_archive) as has_archive`

function feedState(db: SqliteStatements): FeedState {
  const row = db.get(FEED_STATE)
  return {
    storedAt: Math.max(Date.now(), Number(row?.['stored_at'] ?? 0)),
    hasArchive: row?.['has_archive'] === 1,
  }
}

/** The time of the next event. */
export function timeOfNext(db: SqliteStatements): number {
  return feedState(db).storedAt
}

export function endOfStream(db: SqliteStatements, stream: StreamName): StreamEnd {
  const end = endIn(END, db, stream)
  return end.version === 0 ? endIn(ARCHIVED_END, db, stream) : end
}

function endIn(sql: string, db: SqliteStatements, { aggregateId, aggregateType }: StreamName): StreamEnd {
  const row = db.get(sql, aggregateId, aggregateType)
  return {
    version: Number(row?.['aggregate_version'] ?? 0),
    isDeleted: row?.['event_type'] === STREAM_DELETED,
    position: Number(row?.['position'] ?? 0),
  }
}

export function isKnown(db: SqliteStatements, eventId: string): boolean {
  return (
    db.get('select 1 from eventspine_events where event_id = ?', eventId) !== undefined ||
    db.get('select 1 from eventspine_archive where event_id = ?', eventId) !== undefined
  )
}

/** Returns the stored event with the id of the given event, and whether both are the same. */
function findEvent(db: SqliteStatements, given: EventRow): KnownEvent | undefined {
  const row = db.get(KNOWN, given.eventId) ?? db.get(ARCHIVED, given.eventId)
  if (row === undefined) return undefined
  const stored = storedRow(row)
  const values = valuesOf(stored)
  const isSame = valuesOf(given).every((value, index) => value === values[index])
  const { aggregateId, aggregateType, aggregateVersion, position } = stored
  return { aggregateId, aggregateType, aggregateVersion, position, isSame }
}
