import { DomainEvent, EventInit, type EventPayload, wireForm } from './domain-event.ts'
import { asValidationError, buildEnvelope, type EnvelopeInput } from './envelope.ts'
import { EventValidationError } from './errors.ts'
import { immutableCopy } from './immutable.ts'

/** What a {@link GenericEvent} is made of. */
export interface GenericEventInput extends EnvelopeInput {
  readonly eventType: string
  readonly aggregateType: string
  readonly eventVersion?: number
  /** The payload, as JSON data. */
  readonly data: EventPayload
}

/**
 * An event whose type this process does not know. Wildcard handlers get it, with the payload as raw data;
 * published again it is the same message.
 */
export class GenericEvent extends DomainEvent {
  /** The payload as it came over the wire. */
  declare readonly data: EventPayload

  /** @throws EventValidationError when the envelope or the data breaks a rule. */
  constructor(input: GenericEventInput | EventInit) {
    if (input instanceof EventInit) {
      const { envelope, payload, isTrusted } = input
      super(envelope, isTrusted ? payload : { data: freezeData(envelope.eventType, payload) })
    } else {
      for (const path of ['eventType', 'aggregateType'] as const) {
        if (typeof input[path] === 'string' && input[path] !== '') continue
        throw new EventValidationError('GenericEvent', [{ path, rule: 'must be a non-empty string' }])
      }
      const { eventType, aggregateType, eventVersion = 1, data } = input
      super(buildEnvelope({ eventType, aggregateType, eventVersion }, input), {
        data: freezeData(eventType, data),
      })
    }
  }

  override toJSON(): Record<string, unknown> {
    return wireForm(this, this.data)
  }
}

function freezeData(eventType: string, data: EventPayload): EventPayload {
  try {
    // immutableCopy returns a frozen object of the same shape for a plain object.
    return immutableCopy(data, 'data') as EventPayload
  } catch (error) {
    throw asValidationError(eventType, error)
  }
}
