import type { DomainEvent, EventClass } from '../events/index.ts'

/** Header names that every codec writes and every transport knows, as eventsource-py writes them on Kafka. */
export type MessageHeaders = Readonly<Record<string, string>>

/** An event on its way to a broker. */
export interface EncodedEvent {
  /** What order is kept by: the aggregate id. */
  readonly key: string
  readonly headers: MessageHeaders
  readonly contentType: string
  readonly body: string | Uint8Array
}

/** The part of a message that decoding needs. Headers and body come from outside: treat both as hostile. */
export interface EncodedMessage {
  readonly headers: MessageHeaders
  readonly body: string | Uint8Array
}

/** Finds the class for an event type, undefined when the type is unknown here. */
export type EventClassLookup = (eventType: string) => EventClass | undefined

/** Turns events into messages and back. */
export interface EventCodec {
  /** MIME type of the body. */
  readonly contentType: string

  /** A decoded event is passed on with the bytes it came with. */
  encode(event: DomainEvent): EncodedEvent

  /**
   * A type that the lookup does not know becomes a `GenericEvent`.
   * @throws DecodeError for any message that is not an event; never anything else.
   */
  decode(message: EncodedMessage, classFor: EventClassLookup): DomainEvent
}
