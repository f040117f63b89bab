import { randomUUID } from 'node:crypto'
import { type EventCodec, JsonCodec } from '../../codec/index.ts'
import { ConfigError } from '../../errors.ts'
import { type DomainEvent, type EventClass, GenericEvent } from '../../events/index.ts'
import type { StoredDeadLetter } from '../../transport/transport.ts'

/** The changes to an event. */
export interface EventEdit {
  /**
   * The payload of the new event, whole, in the version of the dead letter. A function gets the payload of the dead letter.
   */
  readonly payload?:
    | Readonly<Record<string, unknown>>
    | ((payload: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>)
  /** Entries that are added to the metadata. */
  readonly metadata?: Readonly<Record<string, unknown>>
}

/** The event of a dead letter, and the one that replaces it. */
export interface EditedEvent {
  readonly before: GenericEvent
  readonly after: DomainEvent
}

/**
 * Makes the new event: the edited payload with a new id, caused by the event of the dead letter, in its correlation.
 * @throws DecodeError if the body is no event, or the schema refuses the payload.
 * @throws ConfigError if the type of the event is unknown here, so that the payload cannot be checked.
 */
export function editedEvent(
  { id, message }: StoredDeadLetter,
  { payload, metadata }: EventEdit,
  codec: EventCodec,
  classFor: (eventType: string) => EventClass | undefined,
): EditedEvent {
  const before = codec.decode(message, () => undefined)
  if (!(before instanceof GenericEvent))
    throw new TypeError('A codec decodes an unknown type as a GenericEvent.')
  if (classFor(before.eventType) === undefined) {
    throw new ConfigError('deadLetters.replayEdited', [
      `the class of ${before.eventType} is unknown here, so the payload of ${id} cannot be checked: ` +
        'subscribe to it, or register it with registerEvent',
    ])
  }
  const edited = typeof payload === 'function' ? payload(before.data) : (payload ?? before.data)
  const draft = new GenericEvent({
    eventId: randomUUID(),
    eventType: before.eventType,
    eventVersion: before.eventVersion,
    aggregateId: before.aggregateId,
    aggregateType: before.aggregateType,
    aggregateVersion: before.aggregateVersion,
    correlationId: before.correlationId,
    causationId: before.eventId,
    tenantId: before.tenantId,
    actorId: before.actorId,
    metadata: { ...before.metadata, ...metadata, editedFrom: before.eventId },
    data: edited,
  })
  // Decoded as a consumer decodes it, so that the schema and the upcasts of the class apply.
  const json = new JsonCodec()
  const after = json.decode({ headers: {}, body: json.encode(draft).body }, classFor)
  return { before, after }
}
