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
  const end = endOfStream(db, args)
  const [first] = args.rows
  if (first === undefined || isKnown(db, first.eventId)) return appendSome(db, args, end)
  const decision = decide(args, end, () => undefined)
  if (decision.outcome !== 'write') return decideAgain(db, args, end)
  // The first event is new, so the others should be new as well. If not, the index on their ids refuses them.
  const written = insertAll(db, args.rows, decision.firstVersion)
  return written ?? decideAgain(db, args, end)
}

/** Handles an empty append, and an append whose first event is already stored. */
function appendSome(db: SqliteStatements, args: AppendArguments, end: StreamEnd): AppendOutcome {
  const decision = decide(args, end, (row) => findEvent(db, row))
  if (decision.outcome !== 'write') return decision
  const rows = args.rows.slice(decision.firstIndex)
  if (rows.length === 0) return { outcome: 'stored', newVersion: end.version, globalPosition: end.position }
  // All remaining events were checked and are new.
  return insertAll(db, rows, decision.firstVersion) ?? decideAgain(db, args, end)
}

function decideAgain(db: SqliteStatements, args: AppendArguments, end: StreamEnd): AppendOutcome {
  const decision = decide(args, end, (row) => findEvent(db, row))
  if (decision.outcome !== 'write') return decision
  throw new Error('SQLite refused the ids of an append although they are new')
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
  rows: readonly EventRow[],
  firstVersion: number,
): AppendOutcome | undefined {
  const storedAt = timeOfNext(db)
  const isArchiveEmpty = db.get('select 1 from eventspine_archive limit 1') === undefined
  let position = 0
  for (const [index, row] of rows.entries()) {
    const isTaken = !isArchiveEmpty && db.get(ARCHIVED, row.eventId) !== undefined
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

/** The time of the next event; never earlier than that of the previous one, even if the clock is set back. */
export function timeOfNext(db: SqliteStatements): number {
  const last = db.get('select stored_at from eventspine_events order by position desc limit 1')
  return Math.max(Date.now(), Number(last?.['stored_at'] ?? 0))
}

export function endOfStream(db: SqliteStatements, { aggregateId, aggregateType }: StreamName): StreamEnd {
  const row = db.get(END, aggregateId, aggregateType) ?? db.get(ARCHIVED_END, aggregateId, aggregateType)
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
