import { EventInit, type EventPayload, type EventSource, instantiate } from '../events/domain-event.ts'
import { copyMetadata, type EventEnvelope } from '../events/envelope.ts'
import { EventValidationError } from '../events/errors.ts'
import { ImmutableDate } from '../events/immutable.ts'
import { type DomainEvent, type EventClass, GenericEvent } from '../events/index.ts'
import { DecodeError, type NewerEvent } from './decode-error.ts'
import type { JsonObject } from './hostile-json.ts'

/**
 * Maximum length of an id or a name in an envelope, in characters. Ids and names become keys of lanes, labels and log
 * fields.
 */
export const MAX_NAME = 4096

/** Reads typed fields of a message. Throws a DecodeError that names the field if it is missing or has another type. */
export class FieldReader {
  readonly #fields: JsonObject

  constructor(fields: JsonObject) {
    this.#fields = fields
  }

  text(name: string): string {
    const value = this.optionalText(name)
    if (value === undefined) throw new DecodeError('not_an_event', `The message has no field "${name}".`)
    return value
  }

  /** @param maxLength - in characters; the default is for ids and names. */
  optionalText(name: string, maxLength = MAX_NAME): string | undefined {
    const value = this.#fields[name]
    if (value === undefined || value === null) return undefined
    if (typeof value === 'string' && value !== '') {
      if (value.length <= maxLength) return wellFormed(name, value)
      throw new DecodeError('too_large', `The field "${name}" has more than ${maxLength} characters.`)
    }
    throw new DecodeError('not_an_event', `The field "${name}" must be a non-empty string.`)
  }

  version(name: string): number {
    const value = this.#fields[name]
    if (value === undefined || value === null) return 1
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 1) return value
    throw new DecodeError('not_an_event', `The field "${name}" must be an integer of at least 1.`)
  }

  /** A time in ISO 8601, truncated to milliseconds. The exact time is kept with the body. */
  time(name: string): Date {
    const ms = timeOf(this.text(name))
    if (Number.isNaN(ms)) {
      throw new DecodeError('not_an_event', `The field "${name}" must be a time in ISO 8601.`)
    }
    return new ImmutableDate(ms)
  }

  object(name: string): JsonObject | undefined {
    const value = this.#fields[name]
    if (value === undefined || value === null) return undefined
    if (typeof value === 'object' && !Array.isArray(value)) return value as JsonObject
    throw new DecodeError('not_an_event', `The field "${name}" must be an object.`)
  }
}

/** @throws DecodeError for half of a surrogate pair, which only an escape in JSON can contain. */
function wellFormed(name: string, value: string): string {
  if (value.isWellFormed()) return value
  throw new DecodeError('not_an_event', `The field "${name}" has half of a surrogate pair.`)
}

/** Lengths of parts of a time: up to the hour, up to the point, with milliseconds. */
const HOUR = '2025-01-02T'.length
const SECOND = '2025-01-02T03:04:05.'.length
const MILLISECOND = '2025-01-02T03:04:05.678'.length

/** The second that was read last, up to its point. */
let last = { text: '', ms: 0 }

/** Milliseconds since 1970; NaN if it is not a time. Times in a row often have the same second. */
function timeOf(text: string): number {
  if (text.length <= MILLISECOND || !text.endsWith('Z')) return parsedTime(text)
  if (last.text === '' || !text.startsWith(last.text)) {
    const time = parsedTime(text)
    // Of the hour 24, only the first millisecond exists.
    if (!Number.isNaN(time) && !text.startsWith('24', HOUR))
      last = { text: text.slice(0, SECOND), ms: Math.floor(time / 1000) * 1000 }
    return time
  }
  let fraction = 0
  for (let at = SECOND; at < text.length - 1; at += 1) {
    const digit = text.charCodeAt(at) - 0x30
    if (digit < 0 || digit > 9) return Number.NaN
    if (at < MILLISECOND) fraction = fraction * 10 + digit
  }
  return last.ms + fraction
}

function parsedTime(text: string): number {
  return ISO_TIME.test(text) ? Date.parse(text) : Number.NaN
}

const ISO_TIME = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)$/

/** The fields of a decoded message, before the payload is validated. */
export interface DecodedFields {
  readonly envelope: Omit<EventEnvelope, 'metadata'>
  readonly metadata: JsonObject | undefined
  readonly payload: EventPayload
}

/**
 * Creates the event of a decoded message; a GenericEvent if no class is known.
 * @param source - the body, if the event keeps it for publishing it again.
 */
export function reviveEvent(
  eventClass: EventClass | undefined,
  { envelope, metadata, payload }: DecodedFields,
  source?: EventSource,
): DomainEvent {
  try {
    const complete = { ...envelope, metadata: copyMetadata(envelope.eventType, metadata) }
    const init = new EventInit(complete, payload, false, { source })
    return eventClass === undefined ? new GenericEvent(init) : instantiate(eventClass, init)
  } catch (error) {
    const fault =
      error instanceof EventValidationError ? error.message : `The schema of ${envelope.eventType} failed.`
    const newer = newerVersionError(eventClass, envelope)
    if (newer === undefined) throw new DecodeError('schema', fault, { cause: error })
    throw new DecodeError('schema', `${fault} ${newer.message}`, { cause: error, newer: newer.newer })
  }
}

/** The error of an event that is of a newer version than its class; undefined if it is not. */
export function newerVersionError(
  eventClass: EventClass | undefined,
  { eventType, eventVersion }: NewerEvent,
): DecodeError | undefined {
  if (eventClass === undefined || eventVersion <= eventClass.schemaVersion) return undefined
  const text =
    `The event is ${eventType} of version ${eventVersion}, but this process knows it up to version ` +
    `${eventClass.schemaVersion}. Deploy the consumer with the newer class, then replay the event.`
  return new DecodeError('newer_version', text, { newer: { eventType, eventVersion } })
}

/**
 * The body determines the type of the event. If the header names another type, the message was routed by a wrong
 * header.
 * @throws DecodeError
 */
export function checkTypeHeader(headerType: string | undefined, eventType: string): void {
  if (headerType === undefined || headerType === eventType) return
  throw new DecodeError(
    'type_mismatch',
    `The header has the event type ${JSON.stringify(headerType.slice(0, 100))}, the body has ${JSON.stringify(eventType.slice(0, 100))}.`,
  )
}
