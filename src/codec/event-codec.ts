import type { DomainEvent, EventClass } from '../events/index.ts'

/**
 * Headers of a message, with the names that eventsource-py uses on Kafka. Every codec writes them, and every transport
 * knows them.
 */
export type MessageHeaders = Readonly<Record<string, string>>

/** An event in the form of a message to publish. */
export interface EncodedEvent {
  /** Messages with the same key are kept in order; the aggregate id. */
  readonly key: string
  readonly headers: MessageHeaders
  readonly contentType: string
  readonly body: string | Uint8Array
}

/** The part of a message that decoding needs. Headers and body come from outside and are untrusted. */
export interface EncodedMessage {
  readonly headers: MessageHeaders
  readonly body: string | Uint8Array
  /** The header `event_type`, if it was read without the others. */
  readonly typeHeader?: string | undefined
}

/** The header `event_type` of a message. */
export function typeHeaderOf(message: EncodedMessage): string | undefined {
  return message.typeHeader ?? message.headers['event_type']
}

/** Finds the class of an event type; undefined if the type is unknown here. */
export type EventClassLookup = (eventType: string) => EventClass | undefined

/** Converts events to messages and back. */
export interface EventCodec {
  /** MIME type of the body. */
  readonly contentType: string

  /**
   * Encodes an event. A decoded event gets the body that it was decoded from.
   * @throws EventLimitError if this codec could not decode the message.
   */
  encode(event: DomainEvent): EncodedEvent

  /**
   * Decodes a message; an event of an unknown type becomes a `GenericEvent`.
   * @throws DecodeError if the message is not an event; never any other error.
   */
  decode(message: EncodedMessage, classFor: EventClassLookup): DomainEvent

  /**
   * Returns true if the message cannot decode to an event of another type than `eventType`, which its header names. It
   * searches the body without decoding it, and returns false if it cannot be certain. If the type has no handler, a bus
   * skips the message when this method returns true, and decodes it otherwise. With a codec that lacks this method, the
   * bus decodes every message.
   */
  canOnlyBe?(message: EncodedMessage, eventType: string): boolean
}
