import { inspect } from 'node:util'
import { describeValue } from '../errors.ts'
import type { Cause } from './causation.ts'
import { markCopy, otherCopyFault } from './copies.ts'
import {
  type BuiltEnvelope,
  copyMetadata,
  ENVELOPE_KEYS,
  type EventEnvelope,
  type EventMetadata,
  versionFault,
  WIRE_ENVELOPE_KEYS,
} from './envelope.ts'
import { EventValidationError } from './errors.ts'
import { decodedForm } from './round-trip.ts'
import { wireForm } from './wire-form.ts'

/** The fields of an event that are not part of its envelope. */
export type EventPayload = Readonly<Record<string, unknown>>

/** The body of a decoded message, kept so that the event can be published again bit for bit. */
export interface EventSource {
  readonly contentType: string
  readonly body: string | Uint8Array
  /** The time as written on the wire, if a `Date` cannot represent it exactly. */
  readonly exactTime?: string | undefined
  /** The names in the body, if they are aliases of the event's names. */
  readonly names?: { readonly eventType: string; readonly aggregateType: string }
}

/**
 * The input of an event's constructor inside the library: a complete envelope, and a payload. The payload is either a copy of
 * a valid one (`isTrusted`), or it comes from the wire and must still pass the schema.
 */
export class EventInit {
  readonly envelope: BuiltEnvelope
  readonly payload: EventPayload
  readonly isTrusted: boolean
  /** The payload as it is written to JSON. Differs from the payload if that contains instances, which can change later. */
  readonly written: EventPayload
  /** The body that the event is decoded from, if the event keeps it. */
  readonly source: EventSource | undefined

  constructor(
    envelope: BuiltEnvelope,
    payload: EventPayload,
    isTrusted: boolean,
    { written = payload, source }: Partial<Pick<EventState, 'written' | 'source'>> = {},
  ) {
    this.envelope = envelope
    this.payload = payload
    this.isTrusted = isTrusted
    this.written = written
    this.source = source
  }
}

/** What an event knows in addition to its fields. One object, because each private field costs every class. */
export interface EventState {
  readonly startsCorrelation: boolean
  /** Frozen; its fields become fields of the event. */
  readonly payload: EventPayload
  /** The payload in its JSON form. Differs from the payload if that contains instances. */
  readonly written: EventPayload
  /** Set if the event is written in an earlier version. */
  readonly earlier: EarlierForm | undefined
  /** The body that the event was decoded from. */
  readonly source: EventSource | undefined
}

/** The state of an event with this payload. */
export function stateOf(
  { startsCorrelation = false }: BuiltEnvelope,
  { payload, written = payload }: { readonly payload: EventPayload; readonly written?: EventPayload },
  earlier?: EarlierForm,
  source?: EventSource,
): EventState {
  return { startsCorrelation, payload, written, earlier, source }
}

/** How a class writes its events in an earlier version. */
export interface EarlierForm {
  readonly version: number
  /** Converts the JSON of a payload. */
  readonly downcast: (payload: EventPayload) => EventPayload
}

/** The classes whose constructors accept an {@link EventInit}: those that `defineEvent` returns, and GenericEvent. */
const initializers = new WeakSet<object>()
let initializerCount = 0

/** Declares that the constructor of a class accepts an {@link EventInit}. */
export function takesEventInit<C extends object>(eventClass: C): C {
  initializers.add(eventClass)
  initializerCount += 1
  return eventClass
}

/**
 * From this many classes on, the fields of the envelope are copied by one call. V8 caches each assignment to a field for
 * each class, in a cache that 1,000 classes with twelve fields overflow: then an assignment takes 20 times as long. With
 * fewer classes, assignments take half the time of the call.
 */
const MANY_CLASSES = 100

/**
 * Creates an instance of an event class from a complete envelope and payload. The constructor of a class that extends a
 * defined one is not run, because its author chooses its parameters.
 */
export function instantiate<E extends DomainEvent>(eventClass: EventConstructor<E>, init: EventInit): E {
  let initializer: unknown = eventClass
  while (typeof initializer === 'function' && !initializers.has(initializer)) {
    initializer = Object.getPrototypeOf(initializer)
  }
  // Every event class comes from defineEvent or is GenericEvent: assertEventClass has refused others.
  return Reflect.construct(initializer as new (init: EventInit) => E, [init], eventClass)
}

// `never` lets every event constructor match, whatever payload it takes.
type EventConstructor<E extends DomainEvent> = abstract new (input: never) => E

let isOwnEvent: (value: object) => value is DomainEvent
let readSource: (event: DomainEvent) => EventSource | undefined
let readWritten: (event: DomainEvent) => WrittenForm
// Functions instead of private methods, which would cost each event a slot.
let changedCopy: <E extends DomainEvent>(event: E, changes: Partial<BuiltEnvelope>) => E
let causedCopy: (event: DomainEvent, cause: Cause) => DomainEvent
let tenantCopy: (event: DomainEvent, tenantId: string) => DomainEvent

/**
 * Something that happened to an aggregate. Create a class for it with {@link defineEvent}. Instances are deeply immutable;
 * they have the fields of the payload and those of the envelope.
 */
export abstract class DomainEvent implements EventEnvelope {
  static {
    markCopy(DomainEvent.prototype)
    isOwnEvent = (value): value is DomainEvent => #state in value
    readSource = (event) => {
      if (!isEvent(event)) throw notAnEvent('A codec encodes events', event)
      return event.#state.source
    }
    readWritten = (event) => {
      const { written, earlier } = event.#state
      if (earlier === undefined) return { eventVersion: event.eventVersion, payload: written }
      const { version, downcast } = earlier
      // The decoded form of an object is an object.
      return { eventVersion: version, payload: downcast(decodedForm(written, '') as EventPayload) }
    }
    changedCopy = (event, changes) => {
      const { startsCorrelation, payload, written } = event.#state
      const envelope = { ...envelopeOf(event), startsCorrelation, ...changes }
      const init = new EventInit(envelope, payload, true, { written })
      // The class that created this instance.
      return instantiate(event.constructor as EventConstructor<typeof event>, init)
    }
    causedCopy = (event, cause) => {
      // An event that came from a broker is passed on unchanged.
      const { source, startsCorrelation } = event.#state
      if (source !== undefined || event.eventId === cause.eventId) return event
      const { causationId = cause.eventId } = event
      if (!startsCorrelation && causationId === event.causationId) return event
      const correlationId = startsCorrelation ? cause.correlationId : event.correlationId
      return changedCopy(event, { causationId, correlationId, startsCorrelation: false })
    }
    // An event that came from a broker is passed on unchanged.
    tenantCopy = (event, tenantId) =>
      event.#state.source !== undefined || event.tenantId !== undefined
        ? event
        : changedCopy(event, { tenantId })
  }

  // Declared, because a field definition would set each of them twice.
  declare readonly eventId: string
  declare readonly eventType: string
  declare readonly eventVersion: number
  declare readonly occurredAt: Date
  declare readonly aggregateId: string
  declare readonly aggregateType: string
  declare readonly aggregateVersion: number
  declare readonly tenantId: string | undefined
  declare readonly actorId: string | undefined
  declare readonly correlationId: string
  declare readonly causationId: string | undefined
  declare readonly metadata: EventMetadata
  readonly #state: EventState

  protected constructor(envelope: BuiltEnvelope, state: EventState) {
    if (initializerCount < MANY_CLASSES) {
      this.eventId = envelope.eventId
      this.eventType = envelope.eventType
      this.eventVersion = envelope.eventVersion
      this.occurredAt = envelope.occurredAt
      this.aggregateId = envelope.aggregateId
      this.aggregateType = envelope.aggregateType
      this.aggregateVersion = envelope.aggregateVersion
      this.tenantId = envelope.tenantId
      this.actorId = envelope.actorId
      this.correlationId = envelope.correlationId
      this.causationId = envelope.causationId
      this.metadata = envelope.metadata
    } else {
      Object.assign(this, envelopeOf(envelope))
    }
    this.#state = state
    Object.assign(this, state.payload)
    Object.freeze(this)
  }

  /** Returns a copy with these metadata keys added or replaced. All other fields are the same, including the id. */
  withMetadata(metadata: EventMetadata): this {
    return changedCopy(this, { metadata: copyMetadata(this.eventType, { ...this.metadata, ...metadata }) })
  }

  /**
   * Returns a copy with another event as its cause: the id of `cause` becomes the `causationId`, and the copy has the
   * `correlationId` of `cause`.
   */
  withCausation(cause: DomainEvent): this {
    const ids = { causationId: cause.eventId, correlationId: cause.correlationId }
    return changedCopy(this, { ...ids, startsCorrelation: false })
  }

  /**
   * Returns a copy with another aggregate version.
   * @throws EventValidationError if the version is not an integer of at least 1.
   */
  withAggregateVersion(aggregateVersion: number): this {
    const rule = versionFault(aggregateVersion)
    if (rule !== undefined) {
      throw new EventValidationError(this.eventType, [{ path: 'aggregateVersion', rule }])
    }
    return changedCopy(this, { aggregateVersion })
  }

  /**
   * Returns the event in the format of eventsource-py: first the envelope in snake_case, then the payload with its
   * declared names.
   */
  toJSON(): Record<string, unknown> {
    const { written, earlier } = this.#state
    if (earlier === undefined) return wireForm(this, written)
    const { eventVersion, payload } = readWritten(this)
    return wireForm(this, payload, eventVersion)
  }

  [inspect.custom](depth: number, options: object, render: typeof inspect): string {
    const shown = Object.fromEntries(Object.entries(this).filter(([, value]) => value !== undefined))
    if (depth < 0) return `[${this.constructor.name}]`
    return `${this.constructor.name} ${render(shown, options)}`
  }
}

/** Returns a copy with the causation ids that the event does not have yet; the event itself if it has both. */
export function withCauseUnlessSet(event: DomainEvent, cause: Cause): DomainEvent {
  return causedCopy(event, cause)
}

/** A copy of the event for a tenant; the event itself if it has one. */
export function withTenantUnlessSet(event: DomainEvent, tenantId: string): DomainEvent {
  return tenantCopy(event, tenantId)
}

/** The body that the event was decoded from; undefined if it was not decoded. */
export function sourceOf(event: DomainEvent): EventSource | undefined {
  return readSource(event)
}

/** The fields of the envelope, without others. */
export function envelopeOf(event: EventEnvelope): EventEnvelope {
  const {
    eventId,
    eventType,
    eventVersion,
    occurredAt,
    aggregateId,
    aggregateType,
    aggregateVersion,
    tenantId,
    actorId,
    correlationId,
    causationId,
    metadata,
  } = event
  return {
    eventId,
    eventType,
    eventVersion,
    occurredAt,
    aggregateId,
    aggregateType,
    aggregateVersion,
    tenantId,
    actorId,
    correlationId,
    causationId,
    metadata,
  }
}

const envelopeKeys: ReadonlySet<string> = new Set(ENVELOPE_KEYS)

/** True if this is a field of the envelope, whose name a payload must not use. */
export function isEnvelopeKey(key: string): boolean {
  return envelopeKeys.has(key)
}

const wireEnvelopeKeys: ReadonlySet<string> = new Set(WIRE_ENVELOPE_KEYS)

/** True if this is a field of the envelope in the spelling of the wire. */
export function isWireEnvelopeKey(key: string): boolean {
  return wireEnvelopeKeys.has(key)
}

/** @returns the rule that a payload field of this name breaks, or undefined. */
export function payloadKeyFault(key: string): string | undefined {
  if (!reservedKeys.has(key)) return undefined
  if (isEnvelopeKey(key) || isWireEnvelopeKey(key)) return "belongs to the event's envelope"
  return key === '__proto__' ? 'is not an allowed name' : 'is the name of a method that every event has'
}

/** All names that a payload field must not have, so that most fields take a single look-up. */
const reservedKeys: ReadonlySet<string> = new Set([
  ...ENVELOPE_KEYS,
  ...WIRE_ENVELOPE_KEYS,
  ...Object.getOwnPropertyNames(DomainEvent.prototype),
  ...Object.getOwnPropertyNames(Object.prototype),
])

/** The version and the payload with which an event is written. */
export interface WrittenForm {
  readonly eventVersion: number
  /** The fields of the event that are not part of its envelope. */
  readonly payload: EventPayload
}

/** The form in which an event is written to JSON. */
export function writtenFormOf(event: DomainEvent): WrittenForm {
  return readWritten(event)
}

/** True for an event. A proxy of an event is none: it lacks the private fields, although `instanceof` accepts it. */
export function isEvent(value: unknown): value is DomainEvent {
  return typeof value === 'object' && value !== null && isOwnEvent(value)
}

/**
 * The error for a value that is not an event. It names the cause if another copy of the package made it, or if it is a
 * proxy of an event.
 */
export function notAnEvent(expected: string, value: unknown): TypeError {
  const hint =
    value instanceof DomainEvent
      ? 'It is a proxy of an event, or inherits from one. Pass the event itself.'
      : otherCopyFault(value)
  return new TypeError([`${expected}, got ${describeValue(value)}.`, hint ?? []].flat().join(' '))
}

/** @throws TypeError if the value is not an event. */
export function assertEvent(value: unknown): asserts value is DomainEvent {
  if (isEvent(value)) return
  throw notAnEvent('publish takes an array of events (instances of a class created with defineEvent)', value)
}
