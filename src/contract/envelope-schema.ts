import type { JsonSchema } from './payload-schemas.ts'

const text = { type: 'string', minLength: 1 }
const optionalText = { type: ['string', 'null'], minLength: 1 }
const version = { type: 'integer', minimum: 1 }

/** The envelope of an event in the format of `JsonCodec`. */
export const ENVELOPE_SCHEMA: JsonSchema = {
  type: 'object',
  properties: {
    event_id: text,
    event_type: text,
    event_version: version,
    occurred_at: { type: 'string', format: 'date-time' },
    aggregate_id: text,
    aggregate_type: text,
    aggregate_version: version,
    tenant_id: optionalText,
    actor_id: optionalText,
    correlation_id: text,
    causation_id: optionalText,
    metadata: { type: 'object' },
  },
  required: ['event_id', 'event_type', 'occurred_at', 'aggregate_id', 'aggregate_type'],
}

/** The headers of a message. Brokers transport them as texts; RabbitMQ has some of them as properties. */
export const HEADERS_SCHEMA: JsonSchema = {
  type: 'object',
  properties: {
    event_id: text,
    event_type: text,
    aggregate_id: text,
    aggregate_type: text,
    aggregate_version: { type: ['string', 'integer'] },
    occurred_at: text,
    correlation_id: text,
    tenant_id: text,
    causation_id: text,
    actor_id: text,
  },
}
