import { setImmediate as nextTurn } from 'node:timers/promises'
import type { StoredRow } from '../store/event-row.ts'
import {
  AmbiguousStreamError,
  type FeedFilter,
  type GetEventsOptions,
  type ReadAllOptions,
  type StreamName,
} from '../store/index.ts'
import { bytesOf, PAGE_BYTES } from '../store/page-bytes.ts'
import { endOfStream } from './append.ts'
import type { SqliteValue } from './driver.ts'
import { JOINED_COLUMNS, READ_COLUMNS, readable, rowOfText, storedRow, text } from './rows.ts'
import type { SqliteRow, SqliteStatements } from './statements.ts'
import { endOfFeed } from './writes.ts'

/** Runs one short read on the connection. */
export type Read = <T>(read: (db: SqliteStatements) => T) => Promise<T>

/** Maximum number of rows per read. The event loop runs between two reads. */
const CHUNK = 500
/** Maximum size of these rows, in bytes of JSON. */
const CHUNK_BYTES = 512 * 1024

/** A stream as rows. */
export interface StreamRows {
  readonly aggregateType: string | undefined
  readonly rows: readonly StoredRow[]
  readonly version: number
  readonly isDeleted: boolean
}

/** @throws AmbiguousStreamError */
export async function readStream(
  read: Read,
  aggregateId: string,
  { aggregateType, fromVersion = 0, toVersion = Number.POSITIVE_INFINITY }: GetEventsOptions,
): Promise<StreamRows> {
  const type = aggregateType ?? (await read((db) => onlyType(db, aggregateId)))
  if (type === undefined) return { aggregateType: undefined, rows: [], version: 0, isDeleted: false }
  const stream = { aggregateId, aggregateType: type }
  const { version, isDeleted } = await read((db) => endOfStream(db, stream))
  const rows: StoredRow[] = []
  const last = isDeleted ? 0 : Math.min(version, toVersion)
  for (let after = Math.max(0, fromVersion); after < last; ) {
    const chunk = await read((db) => versionsAfter(db, stream, after, Math.min(last, after + CHUNK)))
    rows.push(...chunk.map(storedRow))
    after += CHUNK
    if (after < last) await nextTurn()
  }
  // The stream was deleted between two chunks.
  if (rows.length < last - fromVersion && last > fromVersion) {
    const now = await read((db) => endOfStream(db, stream))
    if (now.isDeleted) return { aggregateType: type, rows: [], version: now.version, isDeleted: true }
  }
  return { aggregateType: type, rows, version, isDeleted }
}

function onlyType(db: SqliteStatements, aggregateId: string): string | undefined {
  const types = db
    .all(
      `select aggregate_type from eventspine_events where aggregate_id = ?
       union select aggregate_type from eventspine_archive where aggregate_id = ?`,
      ...[aggregateId, aggregateId],
    )
    .map((row) => text(row['aggregate_type']))
  if (types.length > 1) throw new AmbiguousStreamError(aggregateId, types)
  return types[0]
}

function versionsAfter(
  db: SqliteStatements,
  { aggregateId, aggregateType }: StreamName,
  after: number,
  last: number,
): readonly SqliteRow[] {
  const select = (table: string) =>
    `select ${READ_COLUMNS} from ${table} where aggregate_id = ? and aggregate_type = ? and aggregate_version > ? and aggregate_version <= ?`
  const values = [aggregateId, aggregateType, after, last]
  return db.all(
    `${select('eventspine_archive')} union all ${select('eventspine_events')} order by aggregate_version`,
    ...[...values, ...values],
  )
}

/** The end of the feed, and the event at that position. */
export interface FeedEnd {
  readonly head: number
  readonly headEventId: string | undefined
}

export function feedEnd(db: SqliteStatements): FeedEnd {
  const last = db.get('select position, event_id from eventspine_events order by position desc limit 1')
  const head = Math.max(endOfFeed(db), Number(last?.['position'] ?? 0))
  return { head, headEventId: last?.['position'] === head ? text(last['event_id']) : undefined }
}

/** Selects a part of the feed, with or without archived events. */
export interface FeedRange extends ReadAllOptions {
  readonly includeArchived?: boolean
}

/** Positions that the first step of a filtered read scans. */
const FIRST_WINDOW = 2000
const LAST_WINDOW = 1_000_000
/** After a step that takes longer than this, in milliseconds, the next step scans fewer positions. */
const LONG_MS = 4

/** A part of the feed as rows. */
export interface FeedRows {
  readonly rows: readonly StoredRow[]
  /** True if the part ended because of its size. */
  readonly isCut: boolean
}

/**
 * Reads at most `limit` rows of the feed up to a position, in order. It stops after the row with which they reach a
 * size.
 */
export async function readFeed(read: Read, range: FeedRange, limit: number, last: number): Promise<FeedRows> {
  const { fromPosition = 0, includeArchived = false, maxBytes = PAGE_BYTES, ...filter } = range
  const [where, values] = conditionOf(filter)
  const rows: StoredRow[] = []
  if (where === undefined) return { rows, isCut: false }
  let bytesLeft = maxBytes
  // Without a filter, the index on positions returns a page at once. With a filter, many positions in a row may have no
  // matching event.
  let window = where === '' ? LAST_WINDOW * LAST_WINDOW : FIRST_WINDOW
  for (let after = Math.max(0, fromPosition); after < last && rows.length < limit; ) {
    const upTo = Math.min(last, after + window)
    const startedAt = performance.now()
    const wanted = Math.min(limit - rows.length, CHUNK)
    const bytes = Math.min(bytesLeft, CHUNK_BYTES)
    const step = { where, limit: wanted, maxBytes: bytes, includeArchived }
    const found = await read((db) => rowsBetween(db, [after, upTo, ...values], step))
    const isSlow = performance.now() - startedAt > LONG_MS
    for (const row of found.rows) rows.push(row)
    bytesLeft -= found.bytes
    if (bytesLeft <= 0) break
    const isWhole = found.rows.length < wanted && found.bytes < bytes
    after = isWhole ? upTo : (rows.at(-1)?.position ?? upTo)
    if (where !== '')
      window = isSlow ? Math.max(FIRST_WINDOW / 4, window / 2) : Math.min(LAST_WINDOW, window * 2)
    if (after < last && rows.length < limit) await nextTurn()
  }
  return { rows, isCut: bytesLeft <= 0 && rows.length < limit }
}

/** Rows, and their size. */
interface SizedRows {
  readonly rows: readonly StoredRow[]
  readonly bytes: number
}

/**
 * Reads the first rows of a statement, up to a number or a size.
 * @param select - the statement for a list of columns.
 */
export function firstRows(
  db: SqliteStatements,
  select: (columns: string) => string,
  values: readonly SqliteValue[],
  limit: number,
  maxBytes: number,
): SizedRows {
  const joined = db.texts(select(`${JOINED_COLUMNS} as row`), ...values)
  return firstOf(joined, rowOfText, limit, maxBytes) ?? rowsByColumns(db, select, values, limit, maxBytes)
}

const rowsByColumns: typeof firstRows = (db, select, values, limit, maxBytes) =>
  firstOf(db.iterate(select(READ_COLUMNS), ...values), storedRow, limit, maxBytes) ?? { rows: [], bytes: 0 }

/** @returns undefined if a row cannot be read in this form. */
function firstOf<Found>(
  found: Iterable<Found>,
  read: (one: Found) => StoredRow | undefined,
  limit: number,
  maxBytes: number,
): SizedRows | undefined {
  const rows: StoredRow[] = []
  let bytes = 0
  for (const one of found) {
    const row = read(one)
    if (row === undefined) return undefined
    rows.push(row)
    bytes += bytesOf(row)
    if (rows.length >= limit || bytes >= maxBytes) break
  }
  return { rows, bytes }
}

function rowsBetween(
  db: SqliteStatements,
  values: readonly SqliteValue[],
  { where, limit, maxBytes, includeArchived }: RowsWanted,
): SizedRows {
  const select = (table: string, columns: string) =>
    `select ${columns} from ${table} where position > ? and position <= ?${where}`
  const end = 'order by position limit ?'
  if (!includeArchived) {
    const one = (columns: string) => `${select('eventspine_events', columns)} ${end}`
    return firstRows(db, one, [...values, limit], limit, maxBytes)
  }
  // The order of both tables together needs the position as a column.
  const both = (columns: string) =>
    `${select('eventspine_events', columns)} union all ${select('eventspine_archive', columns)} ${end}`
  return rowsByColumns(db, both, [...values, ...values, limit], limit, maxBytes)
}

interface RowsWanted {
  readonly where: string
  readonly limit: number
  readonly maxBytes: number
  readonly includeArchived: boolean
}

/** A filter in SQL and its values; undefined if no event can pass the filter. */
export function conditionOf({
  eventTypes,
  aggregateTypes,
  tenantId,
  correlationId,
}: FeedFilter): readonly [string | undefined, readonly SqliteValue[]] {
  if (eventTypes?.length === 0 || aggregateTypes?.length === 0) return [undefined, []]
  const parts: string[] = []
  const values: SqliteValue[] = []
  const among = (column: string, wanted: readonly string[] | undefined) => {
    if (wanted === undefined) return
    const places = wanted.map(() => '?').join(', ')
    parts.push(` and ${column} in (${places})`)
    values.push(...wanted)
  }
  among('correlation_id', correlationId === undefined ? undefined : [correlationId])
  among('tenant_id', tenantId === undefined ? undefined : [tenantId])
  among('event_type', eventTypes)
  among('aggregate_type', aggregateTypes)
  return [parts.join(''), values]
}

/**
 * Returns the largest position up to which all events were stored before a time. Times never decrease in the order of
 * the feed.
 */
export function positionBefore(db: SqliteStatements, time: number): number {
  const { head } = feedEnd(db)
  let [low, high] = [0, head + 1]
  while (low + 1 < high) {
    const middle = Math.floor((low + high) / 2)
    const next = nextAfter(db, middle - 1)
    if (next !== undefined && next.storedAt < time) low = next.position
    else high = middle
  }
  return nextAfter(db, low) === undefined ? head : low
}

function nextAfter(
  db: SqliteStatements,
  position: number,
): { readonly position: number; readonly storedAt: number } | undefined {
  const next = (table: string) =>
    db.get(
      `select position, (${readable('stored_at')}) as stored_at from ${table} where position > ? order by position limit 1`,
      position,
    )
  const [live, archived] = [next('eventspine_events'), next('eventspine_archive')]
  const isArchivedFirst =
    archived !== undefined && (live === undefined || Number(archived['position']) < Number(live['position']))
  const row = isArchivedFirst ? archived : live
  return row && { position: Number(row['position']), storedAt: Number(row['stored_at']) }
}
