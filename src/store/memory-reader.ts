import { asGeneric, asInstanceOf, isInstanceOf } from '../codec/convert-event.ts'
import { toError } from '../errors.ts'
import type { DomainEvent } from '../events/index.ts'
import { StoredEventError } from './errors.ts'
import type { StoredEvent } from './event-store.ts'
import { KnownEvents } from './known-events.ts'

/**
 * Reads events that are kept as objects as a durable store reads its rows: an event of a registered class is an instance of it,
 * also if it was stored as a `GenericEvent` or by the class of an earlier release.
 */
export class MemoryReader {
  readonly known = new KnownEvents()

  /** If the class of an event refuses it, the result is a `GenericEvent` with a fault. */
  read(stored: StoredEvent): StoredEvent {
    const { event, position } = stored
    const eventClass = this.known.classFor(event.eventType)
    if (isInstanceOf(event, eventClass)) return stored
    try {
      return { ...stored, event: asInstanceOf(event, eventClass) }
    } catch (thrown) {
      const fault = new StoredEventError(event, position, toError(thrown))
      return { ...stored, event: asGeneric(event), fault }
    }
  }

  /** @throws StoredEventError if the class of the event refuses it. */
  eventOf(stored: StoredEvent): DomainEvent {
    const { event, fault } = this.read(stored)
    if (fault !== undefined) throw fault
    return event
  }
}
