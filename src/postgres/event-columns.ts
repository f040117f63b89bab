import type { StoredRow } from '../store/event-row.ts'
import { dateOf, numberOf, type Row, textOf } from './session.ts'

const columns = [
  'position',
  'event_id',
  'aggregate_type',
  'aggregate_id',
  'aggregate_version',
  'event_type',
  'event_version',
  'tenant_id',
  'correlation_id',
  'causation_id',
  'actor_id',
  "date_part('epoch', occurred_at)",
  "date_part('epoch', stored_at)",
  'payload::text',
  'metadata::text',
]

/** The columns of an event in the order of {@link storedRow}. Times are seconds since 1970, which no setting changes. */
export const EVENT_COLUMNS = columns.join(', ')

export const EVENT_COLUMN_COUNT = columns.length

export function storedRow(row: Row): StoredRow {
  return {
    position: numberOf(row[0]),
    eventId: textOf(row[1]),
    aggregateType: textOf(row[2]),
    aggregateId: textOf(row[3]),
    aggregateVersion: numberOf(row[4]),
    eventType: textOf(row[5]),
    eventVersion: numberOf(row[6]),
    tenantId: row[7] ?? null,
    correlationId: textOf(row[8]),
    causationId: row[9] ?? null,
    actorId: row[10] ?? null,
    occurredAt: dateOf(row[11]).getTime(),
    storedAt: dateOf(row[12]),
    payload: textOf(row[13]),
    metadata: row[14] ?? null,
  }
}
