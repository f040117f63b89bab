import { setImmediate as nextTurn } from 'node:timers/promises'
import { HostileJson } from '../codec/hostile-json.ts'
import { reviveEvent } from '../codec/revive.ts'
import { toError } from '../errors.ts'
import { jsonFields, sourceOf, writtenPayloadOf } from '../events/domain-event.ts'
import { defaultRegistry, type EventRegistry } from '../events/event-registry.ts'
import { ImmutableDate } from '../events/immutable.ts'
import { type DomainEvent, type EventClass, GenericEvent } from '../events/index.ts'
import { StoredEventError } from './errors.ts'
import type { StoredEvent } from './event-store.ts'

/** An event as the columns of a table. Its version is missing, because only the append determines it. */
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
  /** ISO 8601, with microseconds if the event has them; a row that is read may have milliseconds. */
  readonly occurredAt: string | number
  /** A JSON object. */
  readonly payload: string
  /** A JSON object; null if there is none. */
  readonly metadata: string | null
}

/** A row of the feed. */
export interface StoredRow extends EventRow {
  readonly aggregateVersion: number
  readonly position: number
  readonly storedAt: Date
}

/** @throws TypeError if the event has a value that JSON cannot represent. */
export function encodeRow(event: DomainEvent): EventRow {
  const payload = event instanceof GenericEvent ? event.data : writtenPayloadOf(event)
  const metadata =
    Object.keys(event.metadata).length === 0 ? null : JSON.stringify(jsonFields(event.metadata))
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
    metadata,
  }
}

/** Stored events were checked when they were written, so the limits for messages from outside do not apply. */
const LIMITS = {
  maxBodyBytes: Number.POSITIVE_INFINITY,
  maxValues: Number.POSITIVE_INFINITY,
  maxKeys: Number.POSITIVE_INFINITY,
  maxDepth: 1000,
}

/** Maximum time of decoding between two turns of the event loop, in milliseconds. */
const TURN_MS = 4

/** Converts rows to events of the known classes, and all others to a `GenericEvent`. */
export class RowDecoder {
  readonly #registry: EventRegistry

  /** @param registry - receives the registered classes; `defaultRegistry` is the fallback. */
  constructor(registry: EventRegistry) {
    this.#registry = registry
  }

  /** @throws DuplicateEventTypeError */
  register(eventClasses: readonly EventClass[]): void {
    for (const eventClass of eventClasses) this.#registry.register(eventClass)
  }

  /** Decodes rows. If there are many or large ones, the event loop runs other tasks in between. */
  async decodeAll(rows: readonly StoredRow[]): Promise<readonly StoredEvent[]> {
    const events: StoredEvent[] = []
    let startedAt = performance.now()
    for (const row of rows) {
      events.push(this.decode(row))
      if (performance.now() - startedAt < TURN_MS) continue
      await nextTurn()
      startedAt = performance.now()
    }
    return events
  }

  /** If the class of a row refuses it, the result is a `GenericEvent` with a fault. */
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
  const json = new HostileJson(LIMITS)
  const metadata = row.metadata === null ? undefined : json.object(row.metadata)
  return reviveEvent(eventClass, { envelope, metadata, payload: json.object(row.payload) })
}
