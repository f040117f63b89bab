import { EventspineError, shorten } from '../errors.ts'
import type { DomainEvent } from '../events/index.ts'
import type { DecodeError } from './decode-error.ts'

/** Maximum length of an id or a type in the message, in characters. */
const SHOWN = 100

/**
 * An event exceeds a limit of decoding, so every consumer would dead-letter it. None of the events of the call was published, or
 * stored.
 */
export class EventLimitError extends EventspineError {
  static override readonly name = 'EventLimitError'
  readonly code = 'EVENT_LIMIT_EXCEEDED'
  readonly eventId: string
  readonly eventType: string

  /**
   * @param cause - the error of decoding the event. It names the limit.
   * @param action - what was refused.
   */
  constructor(
    { eventId, eventType }: DomainEvent,
    cause: DecodeError,
    action: 'published' | 'stored' = 'published',
  ) {
    super(
      `The event ${shorten(eventType, SHOWN)} with the id ${shorten(eventId, SHOWN)} was not ${action}, because no ` +
        `consumer could decode it: ${cause.message}`,
      { cause },
    )
    this.eventId = eventId
    this.eventType = eventType
  }
}
