import type { DomainEvent } from '../events/index.ts'
import { type EventRow, encodeRow } from '../store/event-row.ts'
import { type AppendRequest, type ExpectedVersion, STREAM_DELETED } from '../store/index.ts'
import { drawnPosition } from './drawn-position.ts'
import { PostgresValueError } from './errors.ts'
import { CHANNEL, type Statement } from './session.ts'

/** An append, ready to be sent. */
export interface PreparedAppend {
  readonly aggregateType: string
  readonly aggregateId: string
  /** A version, -1 for any version, or -2 for an existing stream. */
  readonly expected: number
  readonly rows: readonly EventRow[]
  /** Approximate number of characters to send. */
  readonly bytes: number
}

/** The server's answer to one append. */
export interface AppendOutcome {
  readonly letter: OutcomeLetter
  /** Version of the stream before the append. */
  readonly version: number
  /** Position of the last event; 0 if nothing was written. */
  readonly lastPosition: number
  /** True if the commit notified the other processes. */
  readonly isNotified?: boolean
}

/**
 * `w` written, `c` conflict, `d` stream deleted, `k` some event ids are already in the store, `b` another transaction
 * holds the stream, `s` the snapshot of the transaction does not show the end of the stream.
 */
export type OutcomeLetter = 'w' | 'c' | 'd' | 'k' | 'b' | 's'

/** An index entry is limited to 2,704 bytes; the entry of a stream also holds other columns. */
const MAX_KEY_BYTES = 1300

/** Limit for a field of a row. The server's limit is 1 GB, and escapes in a statement may double the size. */
const MAX_PAYLOAD_BYTES = 256 * 1024 * 1024

/** @throws PostgresValueError for a value that the server would refuse. */
export function prepareAppend({
  aggregateId,
  aggregateType,
  events,
  expectedVersion,
}: AppendRequest): PreparedAppend {
  checkKey('aggregateType', aggregateType)
  checkKey('aggregateId', aggregateId)
  const rows = events.map((event) => encodeRow(event))
  let bytes = 0
  for (const row of rows) {
    checkRow(row)
    bytes += row.payload.length + (row.metadata?.length ?? 0) + 200
  }
  return { aggregateType, aggregateId, expected: expectedNumber(expectedVersion), rows, bytes }
}

/** @throws PostgresValueError for a value that the server would refuse. */
export function prepareImport(event: DomainEvent): EventRow & { readonly occurredAt: string } {
  checkKey('aggregateType', event.aggregateType)
  checkKey('aggregateId', event.aggregateId)
  const row = encodeRow(event)
  checkRow(row)
  return { ...row, occurredAt: timestamp(row.occurredAt) }
}

function checkRow(row: EventRow): void {
  checkKey('eventId', row.eventId)
  checkKey('eventType', row.eventType)
  checkKey('correlationId', row.correlationId)
  checkText('causationId', row.causationId)
  checkText('actorId', row.actorId)
  if (row.tenantId !== null) checkKey('tenantId', row.tenantId)
  if (row.payload.length > MAX_PAYLOAD_BYTES) {
    throw new PostgresValueError(
      `the payload of ${row.eventType} ${row.eventId} has ${row.payload.length} characters`,
    )
  }
  if (row.eventVersion > MAX_INTEGER) {
    throw new PostgresValueError(`the eventVersion ${row.eventVersion} is larger than ${MAX_INTEGER}`)
  }
}

const MAX_INTEGER = 2 ** 31 - 1

/** @throws PostgresValueError if an index cannot hold the value. */
export function checkKey(name: string, value: string): void {
  checkText(name, value)
  // UTF-8 needs at most three bytes per code unit.
  if (value.length * 3 <= MAX_KEY_BYTES) return
  const bytes = Buffer.byteLength(value)
  if (bytes <= MAX_KEY_BYTES) return
  throw new PostgresValueError(
    `the ${name} has ${bytes} bytes, more than the limit of ${MAX_KEY_BYTES} for an index`,
  )
}

function checkText(name: string, value: string | null): void {
  if (value === null) return
  if (value.includes('\0')) throw new PostgresValueError(`the ${name} has a zero byte`)
  if (!value.isWellFormed()) throw new PostgresValueError(`the ${name} is not well-formed Unicode`)
}

function expectedNumber(expected: ExpectedVersion): number {
  switch (expected) {
    case 'any':
      return -1
    case 'streamExists':
      return -2
    case 'noStream':
      return 0
    default:
      // No stream is that long.
      return Math.min(expected, MAX_INTEGER)
  }
}

export function appendStatement(schema: string): Statement {
  const places = Array.from({ length: 16 }, (_, index) => `$${index + 1}`).join(', ')
  return { key: 'append', text: `select ${schema}.append(${places})`, isWrite: true }
}

/**
 * Appends one event in its own transaction. This plain statement costs the server less than half as much as the
 * function. It returns no row if the event was not written; the function then determines the reason.
 *
 * If a payload is given, its commit notifies the readers, which saves them two hops. The commit holds the server's lock for
 * notifications until the disk has it. Only one append of a database notifies like this at a time, so appends do not wait
 * for each other.
 */
export function appendOneStatement(schema: string): Statement {
  const lastOf = (table: string, condition: string) =>
    `(select e.aggregate_version as version, e.event_type as type from ${schema}.${table} e where ${condition}` +
    'e.aggregate_id = $2 and e.aggregate_type = $1 order by e.aggregate_version desc limit 1)'
  const sequence = `${schema.replaceAll("'", "''")}.events_position_seq`
  const key = `('${sequence}'::regclass::oid::bigint << 32 >> 32)::integer`
  const deleted = `'${STREAM_DELETED}'`
  const notified =
    `case when $14::text is not null and pg_try_advisory_xact_lock(hashtextextended('eventspine notifies', 0)) ` +
    `then pg_notify('${CHANNEL}', $14)::text is not null else false end`
  // The source of the rows takes the lock of the register, so this happens before any row gets its position.
  const entry =
    `select pg_advisory_xact_lock_shared(${key}, (${drawnPosition(sequence)} & 2147483647)::integer) as entry ` +
    `from ${schema}.events_position_seq s`
  return {
    key: 'append_one',
    text:
      `insert into ${schema}.events (event_id, aggregate_type, aggregate_id, aggregate_version, event_type, ` +
      'event_version, bytes, tenant_id, correlation_id, causation_id, actor_id, occurred_at, payload, metadata) ' +
      'select $4, $1, $2, stream.version + 1, $5, $6, octet_length($12::text) + coalesce(octet_length($13::text), 0), ' +
      '$7, $8, $9, $10, $11::timestamptz, $12::text::json, $13::text::json ' +
      'from (select register.entry, coalesce(l.version, a.version, 0) as version, coalesce(l.type, a.type) as type ' +
      `from (${entry}) register left join lateral ${lastOf('events', '')} l on true ` +
      `left join lateral ${lastOf('events_archive', 'l.version is null and ')} a on true) stream ` +
      `where stream.type is distinct from ${deleted} ` +
      'and case $3::integer when -1 then true when -2 then stream.version > 0 else stream.version = $3 end ' +
      `and ($3 >= 0 or not exists (select from ${schema}.events_archive k where k.event_id = $4)) ` +
      `on conflict do nothing returning aggregate_version, position, ${notified}`,
    isWrite: true,
  }
}

/** The values of {@link appendOneStatement}. */
export function oneEvent(
  { aggregateType, aggregateId, expected }: PreparedAppend,
  row: EventRow,
  notify: string | null,
): readonly (string | number | null)[] {
  return [
    aggregateType,
    aggregateId,
    expected,
    row.eventId,
    row.eventType,
    row.eventVersion,
    row.tenantId,
    row.correlationId,
    row.causationId,
    row.actorId,
    timestamp(row.occurredAt),
    row.payload,
    row.metadata,
    notify,
  ]
}

export function appendManyStatement(schema: string): Statement {
  const places = Array.from({ length: 17 }, (_, index) => `$${index + 1}`).join(', ')
  const columns = "outcomes, array_to_string(versions, ','), array_to_string(positions, ',')"
  return {
    key: 'append_many',
    text: `select ${columns} from ${schema}.append_many(${places})`,
    isWrite: true,
  }
}

/** The columns of events as arrays, in the parameter order of both append functions. */
export function eventColumns(rows: readonly EventRow[]): readonly unknown[] {
  return [
    rows.map(({ eventId }) => eventId),
    rows.map(({ eventType }) => eventType),
    rows.map(({ eventVersion }) => eventVersion),
    unlessNull(rows.map(({ tenantId }) => tenantId)),
    rows.map(({ correlationId }) => correlationId),
    unlessNull(rows.map(({ causationId }) => causationId)),
    unlessNull(rows.map(({ actorId }) => actorId)),
    rows.map(({ occurredAt }) => timestamp(occurredAt)),
    rows.map(({ payload }) => payload),
    unlessNull(rows.map(({ metadata }) => metadata)),
  ]
}

/** A column of nulls is sent as null, so that neither side creates an array for it. */
function unlessNull(column: readonly (string | null)[]): readonly (string | null)[] | null {
  return column.some((value) => value !== null) ? column : null
}

/** ISO 8601 writes years after 9999 and before 1 with a sign, which the server does not parse. */
function timestamp(time: string | number): string {
  const iso = typeof time === 'number' ? new Date(time).toISOString() : time
  const sign = iso[0]
  if (sign !== '+' && sign !== '-') return iso
  const year = Number(iso.slice(0, 7))
  if (year >= 1) return `${String(year).padStart(4, '0')}${iso.slice(7)}`
  return `${String(1 - year).padStart(4, '0')}${iso.slice(7)} BC`
}
