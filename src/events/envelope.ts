import { types } from 'node:util'
import { describeValue } from '../errors.ts'
import { currentCause } from './causation.ts'
import { type EventIssue, EventValidationError } from './errors.ts'
import { ImmutableDate, immutableCopy, UnsupportedValue } from './immutable.ts'
import { newId } from './new-id.ts'
import { decodedForm, isDecodedForm } from './round-trip.ts'

/** JSON data that callers attach to an event. */
export type EventMetadata = Readonly<Record<string, unknown>>

/** The fields that every event has in addition to its payload. */
export interface EventEnvelope {
  /** Unique id of the event; a random UUID by default. */
  readonly eventId: string
  /** Name of the event on the wire. */
  readonly eventType: string
  /** Version of the payload's schema. */
  readonly eventVersion: number
  /**
   * When the event happened, with a precision of milliseconds. The microseconds of a decoded event are used only if it
   * is published again.
   */
  readonly occurredAt: Date
  /** Id of the aggregate: any non-empty string. Events with the same aggregate id are handled in order. */
  readonly aggregateId: string
  readonly aggregateType: string
  /** Version of the aggregate after this event, from 1. */
  readonly aggregateVersion: number
  readonly tenantId: string | undefined
  readonly actorId: string | undefined
  /**
   * Shared by all events of one business transaction. Default: the correlation id of the handled event; outside of
   * handlers, a new id.
   */
  readonly correlationId: string
  /** Id of the event that caused this one. Default: the event whose handler created or published it. */
  readonly causationId: string | undefined
  readonly metadata: EventMetadata
}

/** The fields of the envelope that a caller can set. All but `aggregateId` have a default. */
export interface EnvelopeInput {
  readonly aggregateId: string
  readonly eventId?: string | undefined
  readonly occurredAt?: Date | undefined
  readonly aggregateVersion?: number | undefined
  readonly tenantId?: string | undefined
  readonly actorId?: string | undefined
  readonly correlationId?: string | undefined
  readonly causationId?: string | undefined
  readonly metadata?: EventMetadata | undefined
}

/** The fields of the envelope, in wire order. A payload must not use these names. */
export const ENVELOPE_KEYS = [
  'eventId',
  'eventType',
  'eventVersion',
  'occurredAt',
  'aggregateId',
  'aggregateType',
  'aggregateVersion',
  'tenantId',
  'actorId',
  'correlationId',
  'causationId',
  'metadata',
] as const satisfies readonly (keyof EventEnvelope)[]

/** The same fields in the spelling of the wire. */
export const WIRE_ENVELOPE_KEYS = [
  'event_id',
  'event_type',
  'event_version',
  'occurred_at',
  'aggregate_id',
  'aggregate_type',
  'aggregate_version',
  'tenant_id',
  'actor_id',
  'correlation_id',
  'causation_id',
  'metadata',
] as const

/** A complete envelope, with the origin of its correlation id. */
export interface BuiltEnvelope extends EventEnvelope {
  /** True if the correlation id is new, because neither the caller nor a handled event provided one. */
  readonly startsCorrelation?: boolean
}

/** The fields that all events of one class share. */
export interface EventKind {
  readonly eventType: string
  readonly aggregateType: string
  readonly eventVersion: number
}

const NO_ISSUES: readonly EventIssue[] = []
const NO_METADATA: EventMetadata = Object.freeze({})

/**
 * Checks the input and applies the defaults.
 *
 * @throws EventValidationError with every fault.
 */
export function buildEnvelope(kind: EventKind, input: EnvelopeInput): BuiltEnvelope {
  const issues = envelopeIssues(input)
  if (issues.length > 0) throw new EventValidationError(kind.eventType, issues)
  const cause = currentCause()
  const correlationId = input.correlationId ?? cause?.correlationId
  return {
    eventId: input.eventId ?? newId(),
    eventType: kind.eventType,
    eventVersion: kind.eventVersion,
    occurredAt: new ImmutableDate(input.occurredAt ?? Date.now()),
    aggregateId: input.aggregateId,
    aggregateType: kind.aggregateType,
    aggregateVersion: input.aggregateVersion ?? 1,
    tenantId: input.tenantId,
    actorId: input.actorId,
    correlationId: correlationId ?? newId(),
    causationId: input.causationId ?? cause?.eventId,
    metadata: copyMetadata(kind.eventType, input.metadata),
    startsCorrelation: correlationId === undefined,
  }
}

export function copyMetadata(eventType: string, metadata: EventMetadata | undefined): EventMetadata {
  if (metadata === undefined) return NO_METADATA
  try {
    const copy = immutableCopy(metadata, 'metadata')
    // Every handler gets the metadata as a consumer decodes it, also in memory. The copy of an object is an object.
    return (
      isDecodedForm(copy) ? copy : immutableCopy(decodedForm(copy, 'metadata'), 'metadata')
    ) as EventMetadata
  } catch (error) {
    throw asValidationError(eventType, error)
  }
}

export function asValidationError(eventType: string, error: unknown): unknown {
  if (!(error instanceof UnsupportedValue)) return error
  return new EventValidationError(eventType, [{ path: error.path, rule: error.rule }])
}

/** @returns the rule that a version breaks, or undefined. */
export function versionFault(value: unknown): string | undefined {
  return Number.isSafeInteger(value) && Number(value) >= 1
    ? undefined
    : `must be an integer of at least 1, got ${describeValue(value)}`
}

/** Allocates nothing if there are none. */
function envelopeIssues(input: EnvelopeInput): readonly EventIssue[] {
  const { aggregateVersion, occurredAt, metadata } = input
  let issues = withIssue(NO_ISSUES, 'aggregateId', textFault(input.aggregateId))
  if (aggregateVersion !== undefined)
    issues = withIssue(issues, 'aggregateVersion', versionFault(aggregateVersion))
  if (occurredAt !== undefined) issues = withIssue(issues, 'occurredAt', dateFault(occurredAt))
  if (metadata !== undefined) issues = withIssue(issues, 'metadata', objectFault(metadata))
  issues = withIssue(issues, 'eventId', optionalTextFault(input.eventId))
  issues = withIssue(issues, 'tenantId', optionalTextFault(input.tenantId))
  issues = withIssue(issues, 'actorId', optionalTextFault(input.actorId))
  issues = withIssue(issues, 'correlationId', optionalTextFault(input.correlationId))
  return withIssue(issues, 'causationId', optionalTextFault(input.causationId))
}

function withIssue(issues: readonly EventIssue[], path: string, rule: string | undefined) {
  return rule === undefined ? issues : [...issues, { path, rule }]
}

function optionalTextFault(value: unknown): string | undefined {
  return value === undefined ? undefined : textFault(value)
}

/** @returns the rule that an id or a name breaks, or undefined. */
export function textFault(value: unknown): string | undefined {
  if (typeof value !== 'string' || value === '') {
    return `must be a non-empty string, got ${describeValue(value)}`
  }
  // UTF-8 cannot represent half of a pair: keys, headers and columns would have U+FFFD, the same for all of them.
  return value.isWellFormed()
    ? undefined
    : `must have no halves of surrogate pairs, got ${describeValue(value)}`
}

function dateFault(value: unknown): string | undefined {
  if (!types.isDate(value)) return `must be a Date, got ${describeValue(value)}`
  const year = value.getUTCFullYear()
  if (Number.isNaN(year)) return 'must be a valid Date'
  // Other years have no form in ISO 8601 that all consumers read.
  return year >= 1 && year <= 9999 ? undefined : `must be in the years 1 to 9999, got ${year}`
}

/** @returns the rule that metadata or generic data breaks, or undefined. */
export function objectFault(value: unknown): string | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? undefined
    : `must be a plain object, got ${describeValue(value)}`
}
