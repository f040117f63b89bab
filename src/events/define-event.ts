import type { StandardSchemaV1 } from '@standard-schema/spec'
import { describeValue } from '../errors.ts'
import {
  DomainEvent,
  EventInit,
  type EventPayload,
  isEnvelopeKey,
  payloadKeyFault,
  takesEventInit,
} from './domain-event.ts'
import {
  asValidationError,
  buildEnvelope,
  type EnvelopeInput,
  type EventKind,
  type WIRE_ENVELOPE_KEYS,
} from './envelope.ts'
import { type EventIssue, EventValidationError } from './errors.ts'
import { immutableCopy, UnsupportedValue } from './immutable.ts'
import { decodedForm, firstDifference, firstUnreadable, readsBackAs } from './round-trip.ts'

type Primitive = string | number | boolean | bigint | symbol | null | undefined

/** Readonly all the way down, as the instances are frozen. Primitives keep their brands, instances of classes their methods. */
export type Immutable<T> = T extends
  | Primitive
  | Date
  | { toJSON(): unknown }
  | ((...args: never[]) => unknown)
  ? T
  : T extends object
    ? { readonly [K in keyof T]: Immutable<T[K]> }
    : T

/** An event class: what `subscribe`, a registry and a codec need to know of it. */
export interface EventClass<E extends DomainEvent = DomainEvent> {
  // `never` lets every event constructor match, whatever payload it takes.
  new (input: never): E
  readonly name: string
  /** Name of the event on the wire. */
  readonly eventType: string
  readonly aggregateType: string
  /** Version of the payload's schema; becomes `eventVersion` of each event. */
  readonly schemaVersion: number
}

/** zod's type of an empty object forbids every field, those of the envelope too; an event adds some. */
type Fields<T> = T extends Record<string, never> ? unknown : T

type IsUnion<T, U = T> = [T] extends [never]
  ? false
  : T extends unknown
    ? [U] extends [T]
      ? false
      : true
    : false

/** All fields of all alternatives, those that some alternatives lack being undefined there: a class can extend it. */
type Merged<T> = {
  readonly [K in T extends unknown ? keyof T : never]: T extends unknown
    ? K extends keyof T
      ? T[K]
      : undefined
    : never
}

/** What an instance has besides the envelope. Of a union, whose alternatives a class cannot extend, all fields. */
type Instance<Output> = DomainEvent &
  (IsUnion<Output> extends true ? Merged<Immutable<Output>> : Immutable<Fields<Output>>)

/** An event with a payload of any keys takes the envelope beside them. */
type Input<Fields> = string extends keyof Fields
  ? EnvelopeInput & { readonly [key: string]: Fields[keyof Fields] | EnvelopeInput[keyof EnvelopeInput] }
  : EnvelopeInput & Fields

/** Only for the compiler: the alternatives of a payload that is a union. */
declare const alternatives: unique symbol

/** What `defineEvent` returns: extend it, or use it as it is. */
export interface DefinedEventClass<In, Out> {
  new (input: Input<Fields<In>>): Instance<Out>
  readonly name: string
  readonly eventType: string
  readonly aggregateType: string
  readonly schemaVersion: number
  /** Only for the compiler: the alternatives of a payload that is a union; `unknown` of any other. */
  readonly [alternatives]?: IsUnion<Out> extends true ? Immutable<Out> : unknown
}

/** The event (or the union of events) that a class (or an array of classes) makes. */
export type EventOf<C extends EventClass | readonly EventClass[]> = C extends EventClass
  ? EventOfClass<C>
  : C extends readonly (infer Each)[]
    ? EventOfClass<Each>
    : never

type EventOfClass<C> =
  C extends EventClass<infer E>
    ? C extends { readonly [alternatives]?: infer Alternatives }
      ? unknown extends Alternatives
        ? E
        : E & NonNullable<Alternatives>
      : E
    : never

/** What an event is called, and which version its payload has. */
export interface EventDefinition {
  /** Name on the wire, for instance `OrderCreated`. */
  readonly type: string
  /** Kind of aggregate it belongs to, for instance `Order`. */
  readonly aggregateType: string
  /** Version of the payload's schema, from 1. Default 1. */
  readonly schemaVersion?: number
}

/** A definition whose payload is checked on construction and on decoding. */
export interface EventDefinitionWithSchema<S extends StandardSchemaV1> extends EventDefinition {
  /**
   * Any synchronous Standard Schema (zod, valibot, ArkType ...) of the payload. It sees the payload twice: as
   * the constructor's input, and as JSON when a message is decoded; so dates need a schema that takes both
   * (`z.coerce.date()`), and integers beyond 2^53 arrive as `bigint`.
   */
  readonly schema: NoCollision<S>
  /**
   * Accept input fields that the schema does not return. Needed only for schemas that rename fields; without
   * it a misspelt field is refused, unless the schema itself passes unknown fields on (ArkType does without
   * `'+': 'reject'`). Unknown fields on the wire are never refused, so that producers may add some.
   */
  readonly allowUnknownFields?: boolean
}

/** Names that an event has already: its envelope's in both spellings, and its methods. */
type TakenName = keyof DomainEvent | (typeof WIRE_ENVELOPE_KEYS)[number]

type Collision<T> = T extends unknown ? Extract<keyof T, TakenName> : never

type NoCollision<S extends StandardSchemaV1> = [
  Collision<StandardSchemaV1.InferInput<S>> | Collision<StandardSchemaV1.InferOutput<S>>,
] extends [never]
  ? S
  : `payload field "${Extract<Collision<StandardSchemaV1.InferInput<S>> | Collision<StandardSchemaV1.InferOutput<S>>, string>}" is a name that every event has already: rename it`

type NoCollisionFields<P> = [Collision<P>] extends [never]
  ? []
  : [`payload field "${Extract<Collision<P>, string>}" is a name that every event has already: rename it`]

/**
 * Defines a domain event.
 *
 * With a schema, payload types are inferred and every payload is validated:
 *
 * @example
 * class OrderCreated extends defineEvent({
 *   type: 'OrderCreated',
 *   aggregateType: 'Order',
 *   schema: z.object({ customerId: z.uuid() }),
 * }) {}
 * const event = new OrderCreated({ aggregateId: 'Order-123', customerId })
 *
 * Without one, the type is trusted:
 *
 * @example
 * class OrderShipped extends defineEvent<{ trackingNumber: string }>()({
 *   type: 'OrderShipped',
 *   aggregateType: 'Order',
 * }) {}
 *
 * A subclass may add methods and getters; fields cannot be added, because instances are frozen.
 *
 * @throws TypeError when the definition itself is wrong.
 */
export function defineEvent<S extends StandardSchemaV1>(
  definition: EventDefinitionWithSchema<S>,
): DefinedEventClass<StandardSchemaV1.InferInput<S>, StandardSchemaV1.InferOutput<S>>
export function defineEvent<P extends object>(
  ...collision: NoCollisionFields<P>
): (definition: EventDefinition) => DefinedEventClass<P, P>
export function defineEvent(definition?: unknown): unknown {
  if (definition === undefined) {
    return (withoutSchema: EventDefinition) => makeEventClass(withoutSchema, undefined, false)
  }
  // The overload says what a definition with a schema holds; checkDefinition looks at what it is.
  const { schema, allowUnknownFields, ...rest } = definition as EventDefinitionWithSchema<StandardSchemaV1>
  // NoCollision<S> is S for every schema that compiles.
  return makeEventClass(rest, schema as StandardSchemaV1, allowUnknownFields ?? false)
}

/** A payload that was checked, and as it is written. */
interface CheckedPayload {
  readonly payload: EventPayload
  readonly written: EventPayload
}

type PayloadCheck = (payload: EventPayload, isConstruction: boolean) => CheckedPayload

function makeEventClass(
  definition: EventDefinition,
  schema: StandardSchemaV1 | undefined,
  allowUnknownFields: boolean,
): EventClass {
  checkDefinition(definition, schema)
  const { type, aggregateType, schemaVersion = 1 } = definition
  const kind: EventKind = { eventType: type, aggregateType, eventVersion: schemaVersion }
  const check: PayloadCheck =
    schema === undefined
      ? (payload, isConstruction) => trust(type, payload, isConstruction)
      : (payload, isConstruction) =>
          isConstruction
            ? validateNew(type, schema, payload, !allowUnknownFields)
            : validate(type, schema, payload)

  return takesEventInit(
    class extends DomainEvent {
      static readonly eventType = type
      static readonly aggregateType = aggregateType
      static readonly schemaVersion = schemaVersion

      constructor(input: EnvelopeInput | EventInit) {
        if (input instanceof EventInit) {
          const { payload, written } = input.isTrusted ? input : check(input.payload, false)
          super(input.envelope, payload, written)
        } else {
          const { envelope, payload, written } = construct(kind, input, check)
          super(envelope, payload, written)
        }
      }
    },
  )
}

function construct(kind: EventKind, input: unknown, check: PayloadCheck) {
  if (typeof input !== 'object' || input === null) {
    const rule = `takes an object with aggregateId and the payload's fields, got ${describeValue(input)}`
    throw new EventValidationError(kind.eventType, [{ path: '', rule }])
  }
  const payload: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(input)) {
    if (!isEnvelopeKey(key)) payload[key] = value
    else if (key === 'eventType' || key === 'aggregateType' || key === 'eventVersion') {
      throw new EventValidationError(kind.eventType, [{ path: key, rule: 'is fixed by the event class' }])
    }
  }
  // buildEnvelope checks each field that the type promises.
  const envelope = buildEnvelope(kind, input as EnvelopeInput)
  return { envelope, ...check(payload, true) }
}

/** The payload of an event without a schema, whose type is trusted: so nothing may come back as another type. */
function trust(eventType: string, given: EventPayload, isConstruction: boolean): CheckedPayload {
  const checked = freezePayload(eventType, given)
  const fault = isConstruction ? firstUnreadable(checked.payload, '') : undefined
  if (fault === undefined) return checked
  const rule = `${fault.rule}; give ${eventType} a schema that reads it back, or use the JSON form`
  throw new EventValidationError(eventType, [{ path: fault.path, rule }])
}

/** The payload of a decoded event. */
function validate(eventType: string, schema: StandardSchemaV1, given: EventPayload): CheckedPayload {
  return freezePayload(eventType, runSchema(eventType, schema, given))
}

/**
 * The payload of a new event. Each consumer runs the schema on it again. If the schema changed what it was given, or if
 * JSON does, the schema runs once more on what a consumer reads, and must accept it and return the same: the event is as
 * every consumer will see it, or it is refused.
 */
function validateNew(
  eventType: string,
  schema: StandardSchemaV1,
  given: EventPayload,
  refusesUnknown: boolean,
): CheckedPayload {
  const output = runSchema(eventType, schema, given)
  if (refusesUnknown) refuseUnknownFields(eventType, output, given)
  const checked = freezePayload(eventType, output)
  if (readsBackAs(checked.payload, given)) return checked
  const decoded = decode(eventType, checked.payload)
  const again = freezePayload(eventType, readBack(eventType, schema, decoded))
  const path = firstDifference(decode(eventType, again.payload), decoded)
  if (path === undefined) return { payload: again.payload, written: decoded }
  const rule =
    'is changed by the schema each time that the event is read; a transform must leave alone what it has made'
  throw new EventValidationError(eventType, [{ path, rule }])
}

/** What the schema makes of the JSON of a new event. */
function readBack(eventType: string, schema: StandardSchemaV1, decoded: EventPayload): EventPayload {
  try {
    return runSchema(eventType, schema, decoded)
  } catch (error) {
    if (!(error instanceof EventValidationError)) throw error
    const issues = error.issues.map(({ path, rule }) => ({
      path,
      rule: `cannot be read back from JSON by its own schema, as every consumer does: ${rule}`,
    }))
    throw new EventValidationError(eventType, issues, { cause: error })
  }
}

function decode(eventType: string, payload: EventPayload): EventPayload {
  try {
    // The decoded form of an object is an object.
    return decodedForm(payload, '') as EventPayload
  } catch (error) {
    throw asValidationError(eventType, error)
  }
}

function runSchema(eventType: string, schema: StandardSchemaV1, payload: EventPayload): EventPayload {
  const result = schema['~standard'].validate(payload)
  if (result instanceof Promise) {
    result.catch(() => undefined)
    throw new TypeError(`The schema of ${eventType} is asynchronous; events need a synchronous schema.`)
  }
  if (result.issues !== undefined) {
    throw new EventValidationError(eventType, result.issues.map(toIssue))
  }
  const output = result.value
  if (typeof output !== 'object' || output === null || Array.isArray(output)) {
    throw new TypeError(`The schema of ${eventType} must return an object, got ${describeValue(output)}.`)
  }
  // An object that is no array: its own fields are the payload.
  return output as EventPayload
}

function refuseUnknownFields(eventType: string, output: EventPayload, input: EventPayload): void {
  const issues = Object.keys(input)
    .filter((key) => !(key in output) && input[key] !== undefined)
    .map((path): EventIssue => ({ path, rule: 'is not a field of this event' }))
  if (issues.length > 0) throw new EventValidationError(eventType, issues)
}

function toIssue(issue: StandardSchemaV1.Issue): EventIssue {
  const path = (issue.path ?? [])
    .map((segment) => (typeof segment === 'object' ? segment.key : segment))
    .map((key, index) => (typeof key === 'number' ? `[${key}]` : `${index === 0 ? '' : '.'}${String(key)}`))
    .join('')
  // ArkType's messages begin with the path.
  const rule = issue.message.startsWith(`${path} `) ? issue.message.slice(path.length + 1) : issue.message
  return { path, rule: rule.slice(0, 200) }
}

function freezePayload(eventType: string, given: EventPayload): CheckedPayload {
  const payload: Record<string, unknown> = {}
  const notes = { hasInstance: false }
  try {
    for (const [key, value] of Object.entries(given)) {
      const fault = payloadKeyFault(key)
      if (fault !== undefined) throw new UnsupportedValue(key, fault)
      payload[key] = immutableCopy(value, key, notes)
    }
  } catch (error) {
    throw asValidationError(eventType, error)
  }
  return { payload, written: notes.hasInstance ? decode(eventType, payload) : payload }
}

function checkDefinition(definition: EventDefinition, schema: unknown): void {
  for (const name of ['type', 'aggregateType'] as const) {
    const value = definition[name]
    if (typeof value !== 'string' || value === '') {
      throw new TypeError(`defineEvent: ${name} must be a non-empty string, got ${describeValue(value)}`)
    }
  }
  const { type, schemaVersion } = definition
  if (schemaVersion !== undefined && !(Number.isSafeInteger(schemaVersion) && schemaVersion >= 1)) {
    throw new TypeError(
      `defineEvent: schemaVersion of ${type} must be an integer of at least 1, got ${describeValue(schemaVersion)}`,
    )
  }
  if (schema !== undefined && !isStandardSchema(schema)) {
    throw new TypeError(
      `defineEvent: schema of ${type} must be a Standard Schema (zod, valibot, ArkType ...), got ${describeValue(schema)}`,
    )
  }
}

function isStandardSchema(value: unknown): value is StandardSchemaV1 {
  return (
    (typeof value === 'object' || typeof value === 'function') &&
    value !== null &&
    '~standard' in value &&
    typeof value['~standard'] === 'object'
  )
}
