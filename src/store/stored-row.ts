/** An event as the columns of a table. Its version is missing, because only the append determines it. */
export interface EventRow {
  readonly eventId: string
  readonly eventType: string
  readonly eventVersion: number
  readonly aggregateType: string
  readonly aggregateId: string
  readonly tenantId: string | null
  readonly correlationId: string
  readonly causationId: string | null
  readonly actorId: string | null
  /** ISO 8601, with microseconds if the event has them; a row that is read may have milliseconds. */
  readonly occurredAt: string | number
  /** A JSON object. */
  readonly payload: string
  /** A JSON object; null if there is none. */
  readonly metadata: string | null
}

/** A row of the feed. */
export interface StoredRow extends EventRow {
  readonly aggregateVersion: number
  readonly position: number
  readonly storedAt: Date
}
