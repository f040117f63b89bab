import type { EventEnvelope } from './envelope.ts'
import { wireTime } from './round-trip.ts'

type JsonFields = Readonly<Record<string, unknown>>

/** The JSON form of an event, as eventsource-py reads and writes it. */
export function wireForm(
  envelope: EventEnvelope,
  payload: JsonFields,
  eventVersion = envelope.eventVersion,
): Record<string, unknown> {
  const wire: Record<string, unknown> = {
    event_id: envelope.eventId,
    event_type: envelope.eventType,
    event_version: eventVersion,
    occurred_at: wireTime(envelope.occurredAt),
    aggregate_id: envelope.aggregateId,
    aggregate_type: envelope.aggregateType,
    aggregate_version: envelope.aggregateVersion,
    tenant_id: envelope.tenantId ?? null,
    actor_id: envelope.actorId ?? null,
    correlation_id: envelope.correlationId,
    causation_id: envelope.causationId ?? null,
    metadata: jsonValue(envelope.metadata),
  }
  for (const key in payload) wire[key] = jsonValue(payload[key])
  return wire
}

/** Converts the fields of a payload or of metadata to values for `JSON.stringify`. */
export function jsonFields(fields: JsonFields): Record<string, unknown> {
  const result: Record<string, unknown> = {}
  for (const key in fields) result[key] = jsonValue(fields[key])
  return result
}

// Every supported Node.js has `rawJSON`, but TypeScript's library does not declare it yet.
const rawJson = (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON

/**
 * Converts bigints to JSON numbers with all their digits, and dates to the form on the wire. A number beyond 2^53 gets a
 * fraction, as Python writes floats; without one, a decoder would read it as a bigint.
 */
function jsonValue(value: unknown): unknown {
  if (typeof value === 'bigint') return rawJson(value.toString())
  if (typeof value === 'number') return isLongInteger(value) ? rawJson(`${value}.0`) : value
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Date) return wireTime(value)
  if (Array.isArray(value)) return value.map(jsonValue)
  // A plain object: a written payload contains no class instances.
  return jsonFields(value as JsonFields)
}

/** True for integers beyond 2^53 that JavaScript writes without an exponent, that is, below 1e21. */
function isLongInteger(value: number): boolean {
  return Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) < 1e21
}
