import {
  EventInit,
  type EventPayload,
  type EventSource,
  instantiate,
  rememberSource,
} from '../events/domain-event.ts'
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
      if (value.length <= maxLength) return value
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
    const text = this.text(name)
    const time = new ImmutableDate(ISO_TIME.test(text) ? text : Number.NaN)
    if (Number.isNaN(time.getTime())) {
      throw new DecodeError('not_an_event', `The field "${name}" must be a time in ISO 8601.`)
    }
    return time
  }

  object(name: string): JsonObject | undefined {
    const value = this.#fields[name]
    if (value === undefined || value === null) return undefined
    if (typeof value === 'object' && !Array.isArray(value)) return value as JsonObject
    throw new DecodeError('not_an_event', `The field "${name}" must be an object.`)
  }
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
    const init = new EventInit(complete, payload, false)
    const event = eventClass === undefined ? new GenericEvent(init) : instantiate(eventClass, init)
    if (source !== undefined) {
      const { eventType, aggregateType } = envelope
      const isRenamed = event.eventType !== eventType || event.aggregateType !== aggregateType
      rememberSource(event, isRenamed ? { ...source, names: { eventType, aggregateType } } : source)
    }
    return event
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
