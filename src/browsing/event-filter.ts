import { nonEmptyText, type OptionRule, optional, resolveOptions } from '../kit/options.ts'
import type { BrowsedEvent } from './browsed-event.ts'

/** Selects the events that match every given field. */
export interface EventFilter {
  readonly eventId?: string
  /** One of these types. */
  readonly eventTypes?: readonly string[]
  readonly aggregateId?: string
  readonly aggregateType?: string
  readonly correlationId?: string
  readonly causationId?: string
  readonly tenantId?: string
  /** Only events that occurred at this time or later. */
  readonly occurredSince?: Date
  /** Only events that occurred before this time. */
  readonly occurredBefore?: Date
  /** A text that the body contains, byte for byte. */
  readonly text?: string
}

export const time: OptionRule = {
  rule: 'a valid Date',
  isValid: (value) => value instanceof Date && !Number.isNaN(value.getTime()),
}

const names: OptionRule = {
  rule: 'a non-empty array of event types',
  isValid: (value) => Array.isArray(value) && value.length > 0 && value.every(nonEmptyText.isValid),
}

const filterRules: Readonly<Record<keyof EventFilter, OptionRule>> = {
  eventId: optional(nonEmptyText),
  eventTypes: optional(names),
  aggregateId: optional(nonEmptyText),
  aggregateType: optional(nonEmptyText),
  correlationId: optional(nonEmptyText),
  causationId: optional(nonEmptyText),
  tenantId: optional(nonEmptyText),
  occurredSince: optional(time),
  occurredBefore: optional(time),
  text: optional(nonEmptyText),
}

/** @throws ConfigError for an unknown or wrong field. */
export function checkEventFilter(call: string, filter: unknown): void {
  resolveOptions(call, filter, {}, filterRules)
}

const IDENTITIES = [
  'eventId',
  'aggregateId',
  'aggregateType',
  'correlationId',
  'causationId',
  'tenantId',
] as const

/** A text that every codec writes as it is. */
const PLAIN = /^[\w.:-]+$/

export function matchesFilter(found: BrowsedEvent, filter: EventFilter): boolean {
  const { eventTypes, occurredSince, occurredBefore, text } = filter
  for (const name of IDENTITIES) {
    const wanted = filter[name]
    if (wanted === undefined) continue
    // Most events are decided without decoding them.
    const isKnown = found.headers[HEADERS[name]] !== undefined
    if (!isKnown && PLAIN.test(wanted) && !contains(found.body, wanted)) return false
    if (found[name] !== wanted) return false
  }
  if (eventTypes !== undefined && !eventTypes.includes(found.eventType ?? '')) return false
  if (text !== undefined && !contains(found.body, text)) return false
  if (occurredSince === undefined && occurredBefore === undefined) return true
  const { occurredAt } = found
  if (occurredAt === undefined) return false
  return (
    (occurredSince === undefined || occurredAt >= occurredSince) &&
    (occurredBefore === undefined || occurredAt < occurredBefore)
  )
}

/** The headers of a message that a filter compares. */
export const HEADERS = {
  eventId: 'event_id',
  eventType: 'event_type',
  aggregateId: 'aggregate_id',
  aggregateType: 'aggregate_type',
  correlationId: 'correlation_id',
  causationId: 'causation_id',
  tenantId: 'tenant_id',
} as const

function contains(body: Uint8Array, text: string): boolean {
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).includes(text)
}
