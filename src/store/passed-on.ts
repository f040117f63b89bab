import { MAX_NAME } from '../codec/revive.ts'
import { definitionOf } from '../events/definition.ts'
import { type EventSource, sourceOf } from '../events/domain-event.ts'
import type { EventEnvelope } from '../events/envelope.ts'
import { ImmutableDate } from '../events/immutable.ts'
import type { DomainEvent, EventClass } from '../events/index.ts'
import { PassedOnEvent, PassedOnGenericEvent } from '../events/passed-on-event.ts'
import { wireTime } from '../events/round-trip.ts'
import { wireForm } from '../events/wire-form.ts'
import type { StoredEvent } from './event-store.ts'
import type { StoredRow } from './stored-row.ts'

type Decode = (row: StoredRow) => StoredEvent

const NO_FIELDS = Object.freeze({})

/** The end of an envelope as JSON, after which the metadata and the payload follow. */
const NO_METADATA = '{}}'

/**
 * A text in a payload that may be the name of a field of the envelope, or of a prototype. Escapes can spell any name.
 */
const SUSPICIOUS =
  /"(?:event_|aggregate_|occurred_at"|tenant_id"|actor_id"|correlation_id"|causation_id"|metadata"|__proto__")|\\u/

/** A character that JSON may write in another way: all but the printable ones of ASCII, without quotes and backslashes. */
const UNUSUAL = /[^ !#-[\]-~]/

/**
 * The body that a codec would write for a stored event, and the row to decode instead. The body is joined when it is
 * read, because events that were read ahead wait for their turn.
 */
class StoredText implements EventSource {
  readonly contentType = 'application/json'
  readonly #row: StoredRow
  readonly #envelope: EventEnvelope
  readonly #decode: Decode

  constructor(row: StoredRow, envelope: EventEnvelope, decode: Decode) {
    this.#row = row
    this.#envelope = envelope
    this.#decode = decode
  }

  get body(): string {
    const { payload, metadata } = this.#row
    return `${envelopeText(this.#envelope)}${metadata ?? '{}'}${payload === '{}' ? '}' : `,${payload.slice(1)}`}`
  }

  decode(): StoredEvent {
    return this.#decode(this.#row)
  }
}

/**
 * The event of a row for a bus that publishes the stored text, without decoding it.
 * @returns undefined if the row must be decoded: its class writes another name or version, or the text is unusual.
 */
export function passedOn(
  row: StoredRow,
  eventClass: EventClass | undefined,
  decode: Decode,
): StoredEvent | undefined {
  const { payload, metadata, position, storedAt } = row
  if (eventClass !== undefined && !isWrittenAs(row, eventClass)) return undefined
  if (!isPlainObject(payload) || SUSPICIOUS.test(payload)) return undefined
  if (metadata !== null && (!isPlainObject(metadata) || SUSPICIOUS.test(metadata))) return undefined
  const envelope = envelopeOf(row)
  if (envelope === undefined || Number.isNaN(storedAt.getTime())) return undefined
  const source = new StoredText(row, envelope, decode)
  const event =
    eventClass === undefined
      ? new PassedOnGenericEvent(envelope, source)
      : new PassedOnEvent(envelope, source)
  return { event, position, storedAt }
}

/**
 * The event, decoded if it was not.
 * @throws StoredEventError if its class refuses it.
 */
export function decodedEvent(event: DomainEvent): DomainEvent {
  const source = event instanceof PassedOnEvent ? sourceOf(event) : undefined
  if (!(source instanceof StoredText)) return event
  const { event: own, fault } = source.decode()
  if (fault !== undefined) throw fault
  return own
}

/** The event to park: decoded if it was not; with its raw data if its class refuses it. */
export function parkable(event: DomainEvent): DomainEvent {
  const source = event instanceof PassedOnEvent ? sourceOf(event) : undefined
  return source instanceof StoredText ? source.decode().event : event
}

/** The start of a body, up to the metadata, as `JSON.stringify` writes it. */
function envelopeText(envelope: EventEnvelope): string {
  const { eventId, eventType, aggregateId, aggregateType, tenantId, actorId, correlationId, causationId } =
    envelope
  const isUnusual =
    UNUSUAL.test(eventId) ||
    UNUSUAL.test(eventType) ||
    UNUSUAL.test(aggregateId) ||
    UNUSUAL.test(aggregateType) ||
    (correlationId !== eventId && UNUSUAL.test(correlationId)) ||
    (tenantId !== undefined && UNUSUAL.test(tenantId)) ||
    (actorId !== undefined && UNUSUAL.test(actorId)) ||
    (causationId !== undefined && UNUSUAL.test(causationId))
  if (isUnusual) return JSON.stringify(wireForm(envelope, NO_FIELDS)).slice(0, -NO_METADATA.length)
  return (
    `{"event_id":"${eventId}","event_type":"${eventType}","event_version":${envelope.eventVersion},` +
    `"occurred_at":"${wireTime(envelope.occurredAt)}","aggregate_id":"${aggregateId}",` +
    `"aggregate_type":"${aggregateType}","aggregate_version":${envelope.aggregateVersion},` +
    `"tenant_id":${optional(tenantId)},"actor_id":${optional(actorId)},"correlation_id":"${correlationId}",` +
    `"causation_id":${optional(causationId)},"metadata":`
  )
}

const optional = (text: string | undefined): string => (text === undefined ? 'null' : `"${text}"`)

/** True if an instance of the class would be written with the names and the version of the row. */
function isWrittenAs({ eventType, aggregateType, eventVersion }: StoredRow, eventClass: EventClass): boolean {
  return (
    eventClass.eventType === eventType &&
    eventClass.schemaVersion === eventVersion &&
    definitionOf(eventClass)?.writtenVersion === eventVersion &&
    eventClass.aggregateTypeAliases?.includes(aggregateType) !== true
  )
}

/** True for the text of an object as this library writes it: without white space at its ends. */
function isPlainObject(json: string): boolean {
  if (json === '{}') return true
  return json.startsWith('{"') && json.endsWith('}')
}

/** @returns undefined if a field is not what an event has; decoding then says which one. */
function envelopeOf(row: StoredRow): EventEnvelope | undefined {
  const { eventId, eventType, eventVersion, aggregateId, aggregateType, aggregateVersion, correlationId } =
    row
  const occurredAt = new ImmutableDate(row.occurredAt)
  const { tenantId, causationId, actorId } = row
  const hasNames =
    isName(eventId) &&
    isName(eventType) &&
    isName(aggregateId) &&
    isName(aggregateType) &&
    isName(correlationId) &&
    (tenantId === null || isName(tenantId)) &&
    (causationId === null || isName(causationId)) &&
    (actorId === null || isName(actorId))
  const isUsual =
    isVersion(eventVersion) && isVersion(aggregateVersion) && !Number.isNaN(occurredAt.getTime())
  if (!hasNames || !isUsual) return undefined
  return {
    eventId,
    eventType,
    eventVersion,
    occurredAt,
    aggregateId,
    aggregateType,
    aggregateVersion,
    tenantId: tenantId ?? undefined,
    actorId: actorId ?? undefined,
    correlationId,
    causationId: causationId ?? undefined,
    metadata: NO_FIELDS,
  }
}

const isName = (text: string): boolean => text !== '' && text.length <= MAX_NAME

const isVersion = (value: number): boolean => Number.isSafeInteger(value) && value >= 1
