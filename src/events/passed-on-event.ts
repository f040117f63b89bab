import { DomainEvent, type EventSource, stateOf } from './domain-event.ts'
import type { EventEnvelope } from './envelope.ts'

const NO_PAYLOAD = Object.freeze({})

/**
 * A stored event on its way to a bus that publishes the stored text. It has the envelope and the body of the message; its
 * payload is not decoded. No handler, middleware or codec other than the plain JSON codec gets one.
 */
export class PassedOnEvent extends DomainEvent {
  constructor(envelope: EventEnvelope, source: EventSource) {
    super(envelope, stateOf(envelope, { payload: NO_PAYLOAD }, undefined, source))
  }

  /** Instead of an event without its payload. */
  override toJSON(): never {
    throw new TypeError(`The payload of ${this.eventType} ${this.eventId} is not decoded.`)
  }
}

/** Such an event of a type without a class in this process. */
export class PassedOnGenericEvent extends PassedOnEvent {}

/** The key of a property that is true while a bus publishes the body of a {@link PassedOnEvent} as it is. */
export const PASSES_ON = Symbol('eventspine.passesOn')
