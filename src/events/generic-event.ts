import {
  DomainEvent,
  EventInit,
  type EventPayload,
  isWireEnvelopeKey,
  stateOf,
  takesEventInit,
} from './domain-event.ts'
import {
  asValidationError,
  buildEnvelope,
  ENVELOPE_KEYS,
  type EnvelopeInput,
  objectFault,
  textFault,
  versionFault,
} from './envelope.ts'
import { EventValidationError } from './errors.ts'
import { immutableCopy } from './immutable.ts'
import { decodedForm } from './round-trip.ts'
import { wireForm } from './wire-form.ts'

/** The input of {@link GenericEvent}'s constructor. */
export interface GenericEventInput extends EnvelopeInput {
  readonly eventType: string
  readonly aggregateType: string
  readonly eventVersion?: number
  /** The payload, as JSON data. */
  readonly data: EventPayload
}

const FIELDS: ReadonlySet<string> = new Set([...ENVELOPE_KEYS, 'data'])

/**
 * An event whose type has no class in this process. Wildcard handlers receive it with its payload as raw data. If it is
 * published again, its body does not change.
 */
export class GenericEvent extends DomainEvent {
  /** The payload of the message, as JSON data. */
  declare readonly data: EventPayload

  /** @throws EventValidationError if the envelope or the data breaks a rule. */
  constructor(input: GenericEventInput | EventInit) {
    if (input instanceof EventInit) {
      const { envelope, isTrusted, source } = input
      const payload = isTrusted ? input.payload : { data: freezeData(envelope.eventType, input.payload) }
      // Either branch above, or the constructor of the copied event, has made it of an object.
      const written = payload['data'] as EventPayload
      super(envelope, stateOf(envelope, { payload, written }, undefined, source))
    } else {
      for (const path of ['eventType', 'aggregateType'] as const) {
        const rule = textFault(input[path])
        if (rule !== undefined) throw new EventValidationError('GenericEvent', [{ path, rule }])
      }
      const { eventType, aggregateType, eventVersion = 1, data } = input
      const others = Object.keys(input).filter((path) => !FIELDS.has(path))
      if (others.length > 0) {
        const rule = 'is not a field of the envelope; put it into data'
        throw new EventValidationError(
          eventType,
          others.map((path) => ({ path, rule })),
        )
      }
      const rule = versionFault(eventVersion)
      if (rule !== undefined) throw new EventValidationError(eventType, [{ path: 'eventVersion', rule }])
      const frozen = freezeData(eventType, data)
      const envelope = buildEnvelope({ eventType, aggregateType, eventVersion }, input)
      super(envelope, stateOf(envelope, { payload: { data: frozen }, written: frozen }))
    }
  }

  /** @throws EventValidationError if a field of the data has the name of an envelope field on the wire. */
  override toJSON(): Record<string, unknown> {
    const path = Object.keys(this.data).find(isWireEnvelopeKey)
    if (path !== undefined) {
      const rule = "cannot be written as JSON: the event's envelope has a field of this name"
      throw new EventValidationError(this.eventType, [{ path: `data.${path}`, rule }])
    }
    return wireForm(this, this.data)
  }
}

takesEventInit(GenericEvent)

function freezeData(eventType: string, data: EventPayload): EventPayload {
  const rule = objectFault(data)
  if (rule !== undefined) throw new EventValidationError(eventType, [{ path: 'data', rule }])
  try {
    // The JSON form of an object is an object. Raw data has, from its construction, the form that a consumer reads.
    return immutableCopy(decodedForm(immutableCopy(data, 'data'), 'data'), 'data') as EventPayload
  } catch (error) {
    throw asValidationError(eventType, error)
  }
}
