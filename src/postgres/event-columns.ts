import type { StoredRow } from '../store/event-row.ts'
import { dateOf, millisecondsOf, numberOf, type Row, textOf } from './session.ts'

/** The columns of an event, in the order of a row. */
export const eventColumns: readonly string[] = [
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
export const EVENT_COLUMNS = eventColumns.join(', ')

export const EVENT_COLUMN_COUNT = eventColumns.length

export const storedRow = (row: Row): StoredRow => new PostgresRow(row)

/** A row of the server. A column is parsed when it is read: a page is decoded once, and what nobody reads stays text. */
class PostgresRow implements StoredRow {
  readonly #row: Row

  constructor(row: Row) {
    this.#row = row
  }

  get position(): number {
    return numberOf(this.#row[0])
  }

  get eventId(): string {
    return textOf(this.#row[1])
  }

  get aggregateType(): string {
    return textOf(this.#row[2])
  }

  get aggregateId(): string {
    return textOf(this.#row[3])
  }

  get aggregateVersion(): number {
    return numberOf(this.#row[4])
  }

  get eventType(): string {
    return textOf(this.#row[5])
  }

  get eventVersion(): number {
    return numberOf(this.#row[6])
  }

  get tenantId(): string | null {
    return this.#row[7] ?? null
  }

  get correlationId(): string {
    return textOf(this.#row[8])
  }

  get causationId(): string | null {
    return this.#row[9] ?? null
  }

  get actorId(): string | null {
    return this.#row[10] ?? null
  }

  get occurredAt(): number {
    return millisecondsOf(this.#row[11])
  }

  get storedAt(): Date {
    return dateOf(this.#row[12])
  }

  get payload(): string {
    return textOf(this.#row[13])
  }

  get metadata(): string | null {
    return this.#row[14] ?? null
  }
}
