import type { EventRow, StoredRow } from '../store/event-row.ts'
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

/** Numbers of an event that somebody may have changed by hand. */
const NUMBERS: readonly string[] = ['stored_at', 'aggregate_version', 'event_version']

/** The columns {@link STORED_COLUMNS} as they are read. */
export const READ_COLUMNS = STORED.map((column) =>
  NUMBERS.includes(column) ? `(${readable(column)}) as ${column}` : column,
).join(', ')

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

/** The value of a `text not null` column. */
export function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

export function optionalText(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}
