import type { BrowsedEvent } from '../../../browsing/index.ts'

/** What a list shows of an event. It is kept between requests, so it holds no payload. */
export interface EventRow {
  readonly position: string
  readonly eventId: string | undefined
  readonly eventType: string | undefined
  readonly aggregateId: string | undefined
  readonly correlationId: string | undefined
  readonly causationId: string | undefined
  /** When the broker got it, or else when it occurred. */
  readonly at: Date | undefined
  /** True if `at` is the time of the broker, by which a search can start. */
  readonly isStoredTime: boolean
}

export function rowOf(found: BrowsedEvent): EventRow {
  const { position, eventId, eventType, aggregateId, correlationId, causationId, storedAt } = found
  const at = storedAt ?? found.occurredAt
  const isStoredTime = storedAt !== undefined
  return { position, eventId, eventType, aggregateId, correlationId, causationId, at, isStoredTime }
}

/** The query of the link to an event: with it, the page finds the event without a long search. */
export function placeQuery({ aggregateId, at, isStoredTime }: EventRow) {
  return { aggregate: aggregateId, at: isStoredTime ? at?.getTime() : undefined }
}
