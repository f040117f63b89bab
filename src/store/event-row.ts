import { parseJsonObject } from '../codec/hostile-json.ts'
import { reviveEvent } from '../codec/revive.ts'
import { toError } from '../errors.ts'
import { jsonFields, sourceOf, writtenPayloadOf } from '../events/domain-event.ts'
import { defaultRegistry, type EventRegistry } from '../events/event-registry.ts'
import { ImmutableDate } from '../events/immutable.ts'
import { type DomainEvent, type EventClass, GenericEvent } from '../events/index.ts'
import { StoredEventError } from './errors.ts'
import type { StoredEvent } from './event-store.ts'

/** An event as the columns of a table, but for its version: that is known only inside the append. */
export interface EventRow {
  readonly eventId: string
  readonly eventType: string
  readonly eventVersion: number
  readonly aggregateType: string
  readonly aggregateId: string
  readonly tenantId: string | null
  readonly correlationId: string
  readonly causationId: string | null
  readonly actorId: string | null
  /** ISO 8601, to the microsecond where the event came with it; a row that is read may have milliseconds. */
  readonly occurredAt: string | number
  /** JSON, an object. */
  readonly payload: string
  /** JSON, an object; null where there is none. */
  readonly metadata: string | null
}

/** A row as it lies in the feed. */
export interface StoredRow extends EventRow {
  readonly aggregateVersion: number
  readonly position: number
  readonly storedAt: Date
}

/** @throws TypeError when the event holds something that JSON cannot. */
export function encodeRow(event: DomainEvent): EventRow {
  const payload = event instanceof GenericEvent ? event.data : writtenPayloadOf(event)
  const metadata = JSON.stringify(jsonFields(event.metadata))
  return {
    eventId: event.eventId,
    eventType: event.eventType,
    eventVersion: event.eventVersion,
    aggregateType: event.aggregateType,
    aggregateId: event.aggregateId,
    tenantId: event.tenantId ?? null,
    correlationId: event.correlationId,
    causationId: event.causationId ?? null,
    actorId: event.actorId ?? null,
    occurredAt: sourceOf(event)?.exactTime ?? event.occurredAt.toISOString(),
    payload: JSON.stringify(jsonFields(payload)),
    metadata: metadata === '{}' ? null : metadata,
  }
}

/** What was written here was checked before: the limits of messages from outside do not apply. */
const LIMITS = { maxBodyBytes: Number.POSITIVE_INFINITY, maxDepth: 1000 }

/** Turns rows into events of the classes that it knows, all others into a `GenericEvent`. */
export class RowDecoder {
  readonly #registry: EventRegistry

  /** @param registry - gets the classes that are registered; `defaultRegistry` is looked at after it. */
  constructor(registry: EventRegistry) {
    this.#registry = registry
  }

  /** @throws DuplicateEventTypeError */
  register(eventClasses: readonly EventClass[]): void {
    for (const eventClass of eventClasses) this.#registry.register(eventClass)
  }

  /** A row whose class refuses it becomes a `GenericEvent` with a fault. */
  decode(row: StoredRow): StoredEvent {
    const { position, storedAt, eventType } = row
    const eventClass = this.#registry.getOrUndefined(eventType) ?? defaultRegistry.getOrUndefined(eventType)
    try {
      return { event: revive(row, eventClass), position, storedAt }
    } catch (thrown) {
      const fault = new StoredEventError(row, position, toError(thrown))
      return { event: revive(row, undefined), position, storedAt, fault }
    }
  }
}

function revive(row: StoredRow, eventClass: EventClass | undefined): DomainEvent {
  const { eventId, eventType, eventVersion, aggregateId, aggregateType, aggregateVersion, correlationId } =
    row
  const envelope = {
    ...{ eventId, eventType, eventVersion, aggregateId, aggregateType, aggregateVersion, correlationId },
    occurredAt: new ImmutableDate(row.occurredAt),
    tenantId: row.tenantId ?? undefined,
    actorId: row.actorId ?? undefined,
    causationId: row.causationId ?? undefined,
  }
  const metadata = row.metadata === null ? undefined : parseJsonObject(row.metadata, LIMITS)
  return reviveEvent(eventClass, { envelope, metadata, payload: parseJsonObject(row.payload, LIMITS) })
}
