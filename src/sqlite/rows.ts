import type { EventRow, StoredRow } from '../store/event-row.ts'
import { JoinedRow } from '../store/joined-row.ts'
import type { SqliteRow } from './statements.ts'

/** The columns of an event except position and time, in the order in which they are written. */
export const EVENT_COLUMNS = [
  'event_id',
  'event_type',
  'event_version',
  'aggregate_type',
  'aggregate_id',
  'tenant_id',
  'correlation_id',
  'causation_id',
  'actor_id',
  'occurred_at',
  'payload',
  'metadata',
] as const

const STORED: readonly string[] = ['position', 'stored_at', 'aggregate_version', ...EVENT_COLUMNS]

export const STORED_COLUMNS = STORED.join(', ')

/** Numbers of an event that may have been changed by hand. */
const NUMBERS: readonly string[] = ['stored_at', 'aggregate_version', 'event_version']

const READ = STORED.map((column) => (NUMBERS.includes(column) ? `(${readable(column)})` : column))

/** The columns {@link STORED_COLUMNS} as they are read. */
export const READ_COLUMNS = READ.map((value, index) => `${value} as ${STORED[index]}`).join(', ')

const joinedRow = new JoinedRow(READ, ['tenant_id', 'causation_id', 'actor_id', 'metadata'], 'char')

/** Maximum size of the JSON in a joined row, in bytes. Rows are joined before the size of their page is known. */
const MAX_JOINED_BYTES = 16_384

/** All columns as one text, which {@link rowOfText} reads; null for a large row. */
export const JOINED_COLUMNS =
  `case when octet_length(payload) + ifnull(octet_length(metadata), 0) <= ${MAX_JOINED_BYTES} ` +
  `then ${joinedRow.sql} end`

/**
 * A number, or the smallest one that JavaScript represents for one that it does not: the drivers throw for that, and one such
 * row would end every read. No event has this number.
 */
export function readable(column: string): string {
  const most = Number.MAX_SAFE_INTEGER
  return `case when ${column} between -${most} and ${most} then ${column} else -${most} end`
}

/** The values of a row in the order of {@link EVENT_COLUMNS}. */
export function valuesOf(row: EventRow): readonly (string | number | null)[] {
  return [
    row.eventId,
    row.eventType,
    row.eventVersion,
    row.aggregateType,
    row.aggregateId,
    row.tenantId,
    row.correlationId,
    row.causationId,
    row.actorId,
    row.occurredAt,
    row.payload,
    row.metadata,
  ]
}

/** A row of the columns {@link STORED_COLUMNS}. */
export function storedRow(row: SqliteRow): StoredRow {
  return {
    position: Number(row['position']),
    storedAt: new Date(Number(row['stored_at'])),
    aggregateVersion: Number(row['aggregate_version']),
    eventId: text(row['event_id']),
    eventType: text(row['event_type']),
    eventVersion: Number(row['event_version']),
    aggregateType: text(row['aggregate_type']),
    aggregateId: text(row['aggregate_id']),
    tenantId: optionalText(row['tenant_id']),
    correlationId: text(row['correlation_id']),
    causationId: optionalText(row['causation_id']),
    actorId: optionalText(row['actor_id']),
    occurredAt: text(row['occurred_at']),
    payload: text(row['payload']),
    metadata: optionalText(row['metadata']),
  }
}

/** A row of {@link JOINED_COLUMNS}. @returns undefined if it must be read by its columns. */
export function rowOfText(joined: string | null): StoredRow | undefined {
  const values = joined === null ? undefined : joinedRow.valuesOf(joined)
  if (values === undefined) return undefined
  const [position, storedAt, aggregateVersion, ...columns] = values
  return {
    position: Number(position),
    storedAt: new Date(Number(storedAt)),
    aggregateVersion: Number(aggregateVersion),
    eventId: text(columns[0]),
    eventType: text(columns[1]),
    eventVersion: Number(columns[2]),
    aggregateType: text(columns[3]),
    aggregateId: text(columns[4]),
    tenantId: optionalText(columns[5]),
    correlationId: text(columns[6]),
    causationId: optionalText(columns[7]),
    actorId: optionalText(columns[8]),
    occurredAt: text(columns[9]),
    payload: text(columns[10]),
    metadata: optionalText(columns[11]),
  }
}

/** The value of a `text not null` column. */
export function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

export function optionalText(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}
