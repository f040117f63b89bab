import { setImmediate as nextTurn } from 'node:timers/promises'
import { DecodeError } from '../codec/decode-error.ts'
import { HostileJson } from '../codec/hostile-json.ts'
import { refuseUnreadable } from '../codec/publish-limits.ts'
import { FieldReader, MAX_NAME, reviveEvent } from '../codec/revive.ts'
import { toError } from '../errors.ts'
import { sourceOf, writtenFormOf } from '../events/domain-event.ts'
import { type EventEnvelope, versionFault } from '../events/envelope.ts'
import type { EventRegistry } from '../events/event-registry.ts'
import { ImmutableDate } from '../events/immutable.ts'
import type { DomainEvent, EventClass } from '../events/index.ts'
import { jsonFields } from '../events/wire-form.ts'
import { StoredEventError } from './errors.ts'
import type { StoredEvent } from './event-store.ts'
import { KnownEvents } from './known-events.ts'
import { passedOn } from './passed-on.ts'
import type { EventRow, StoredRow } from './stored-row.ts'

export type { EventRow, StoredRow }

/**
 * Limits of a stored event. They are wider than those of messages, because a writer to the store is trusted further than
 * a producer. They bound the work for a row that was changed by hand.
 */
export const STORED_LIMITS = {
  maxBodyBytes: Number.POSITIVE_INFINITY,
  maxValues: 300_000,
  maxKeys: 100_000,
  maxDepth: 1000,
}

/**
 * @throws TypeError if the event has a value that JSON cannot represent.
 * @throws EventLimitError if it could not be read again.
 */
export function encodeRow(event: DomainEvent): EventRow {
  const { eventVersion, payload } = writtenFormOf(event)
  const metadata =
    Object.keys(event.metadata).length === 0 ? null : JSON.stringify(jsonFields(event.metadata))
  const written = JSON.stringify(jsonFields(payload))
  refuseUnreadable(event, STORED_LIMITS, written, metadata ?? '')
  return {
    eventId: event.eventId,
    eventType: event.eventType,
    eventVersion,
    aggregateType: event.aggregateType,
    aggregateId: event.aggregateId,
    tenantId: event.tenantId ?? null,
    correlationId: event.correlationId,
    causationId: event.causationId ?? null,
    actorId: event.actorId ?? null,
    occurredAt: sourceOf(event)?.exactTime ?? event.occurredAt.toISOString(),
    payload: written,
    metadata,
  }
}

/** Maximum time of decoding between two turns of the event loop, in milliseconds. */
const TURN_MS = 4

/**
 * Number of events that come undecoded between two turns. A relay gets them while it waits for the broker, whose answer
 * starts the next batch.
 */
const UNDECODED_PER_TURN = 100

/** Converts rows to events of the known classes, and all others to a `GenericEvent`. */
export class RowDecoder {
  readonly known: KnownEvents
  readonly #hasJson: boolean
  readonly #decode = (row: StoredRow): StoredEvent => this.decode(row)

  /**
   * @param registry - receives the registered classes; `defaultRegistry` is the fallback.
   * @param columns - `'json'` if the database accepts only valid JSON as payload and metadata. Default `'text'`.
   */
  constructor(registry: EventRegistry, columns: 'json' | 'text' = 'text') {
    this.known = new KnownEvents(registry)
    this.#hasJson = columns === 'json'
  }

  /**
   * Decodes rows. If there are many or large ones, the event loop runs other tasks in between.
   * @param undecoded - events whose stored text can be published come undecoded.
   */
  async decodeAll(rows: readonly StoredRow[], undecoded = false): Promise<readonly StoredEvent[]> {
    if (undecoded) return this.#passAllOn(rows)
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

  /**
   * If the class of a row refuses it, the result is a `GenericEvent` with a fault. So it is for a row that is not an event at
   * all, because it was changed by hand; then the event has no data.
   */
  decode(row: StoredRow): StoredEvent {
    const { position, storedAt, eventType } = row
    const eventClass = this.known.classFor(eventType)
    try {
      return { event: revive(row, eventClass), position, storedAt }
    } catch (thrown) {
      return refused(row, toError(thrown))
    }
  }

  async #passAllOn(rows: readonly StoredRow[]): Promise<readonly StoredEvent[]> {
    const events: StoredEvent[] = []
    for (const row of rows) {
      events.push(this.#passedOn(row))
      if (events.length % UNDECODED_PER_TURN === 0) await nextTurn()
    }
    return events
  }

  #passedOn(row: StoredRow): StoredEvent {
    const isReadable = this.#hasJson || (isJson(row.payload) && isJson(row.metadata ?? '{}'))
    const stored = isReadable ? passedOn(row, this.known.classFor(row.eventType), this.#decode) : undefined
    return stored ?? this.decode(row)
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false // decoding reports it
  }
}

/** The event of a row as it was written. */
export function rawEvent(row: StoredRow): DomainEvent {
  return revive(row, undefined)
}

/** An event that its class refuses, or that is none. */
function refused(row: StoredRow, error: Error): StoredEvent {
  const { position, storedAt } = row
  try {
    return {
      event: revive(row, undefined),
      position,
      storedAt,
      fault: new StoredEventError(row, position, error),
    }
  } catch {
    // The row is what its class refused, so the first error explains it.
    const event = reviveEvent(undefined, { envelope: usableEnvelope(row), metadata: undefined, payload: {} })
    const fault = new StoredEventError(row, position, error, false)
    return { event, position, storedAt: validTime(storedAt), fault }
  }
}

/**
 * The event to store elsewhere.
 * @throws StoredEventError if it could not be read from its store.
 */
export function importable({ event, fault }: StoredEvent): DomainEvent {
  if (fault instanceof StoredEventError && !fault.isReadable) throw fault
  return event
}

const NAMES = ['eventId', 'eventType', 'aggregateId', 'aggregateType', 'correlationId'] as const
const OPTIONAL_NAMES = ['tenantId', 'causationId', 'actorId'] as const

/** @throws DecodeError if a field is not what an event has. */
function checkFields(envelope: Omit<EventEnvelope, 'metadata'>, storedAt: Date): void {
  const fields = new FieldReader(envelope)
  for (const name of NAMES) fields.text(name)
  for (const name of OPTIONAL_NAMES) fields.optionalText(name)
  fields.version('eventVersion')
  fields.version('aggregateVersion')
  for (const [name, time] of [
    ['occurredAt', envelope.occurredAt],
    ['storedAt', storedAt],
  ] as const) {
    if (!Number.isNaN(time.getTime())) continue
    throw new DecodeError('not_an_event', `The field "${name}" is not a time.`)
  }
}

/** The fields of a row that is no event, as far as an event can have them. */
function usableEnvelope(row: StoredRow): Omit<EventEnvelope, 'metadata'> {
  const name = (field: (typeof NAMES)[number]) => row[field].slice(0, MAX_NAME).toWellFormed() || '(empty)'
  const version = (value: number) => (versionFault(value) === undefined ? value : 1)
  return {
    eventId: name('eventId'),
    eventType: name('eventType'),
    eventVersion: version(row.eventVersion),
    aggregateId: name('aggregateId'),
    aggregateType: name('aggregateType'),
    aggregateVersion: version(row.aggregateVersion),
    correlationId: name('correlationId'),
    occurredAt: validTime(new ImmutableDate(row.occurredAt)),
    tenantId: row.tenantId?.slice(0, MAX_NAME) || undefined,
    actorId: row.actorId?.slice(0, MAX_NAME) || undefined,
    causationId: row.causationId?.slice(0, MAX_NAME) || undefined,
  }
}

function validTime(time: Date): Date {
  return Number.isNaN(time.getTime()) ? new ImmutableDate(0) : time
}

function revive(row: StoredRow, eventClass: EventClass | undefined): DomainEvent {
  // Each column is read once, because a row may parse it then.
  const { eventId, eventType, eventVersion, aggregateId, aggregateType, aggregateVersion, correlationId } =
    row
  const envelope = {
    ...{ eventId, eventType, eventVersion, aggregateId, aggregateType, aggregateVersion, correlationId },
    occurredAt: new ImmutableDate(row.occurredAt),
    tenantId: row.tenantId ?? undefined,
    actorId: row.actorId ?? undefined,
    causationId: row.causationId ?? undefined,
  }
  checkFields(envelope, row.storedAt)
  const json = new HostileJson(STORED_LIMITS)
  const metadata = row.metadata === null ? undefined : json.object(row.metadata)
  return reviveEvent(eventClass, { envelope, metadata, payload: json.object(row.payload) })
}
