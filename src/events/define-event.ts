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

/** Deeply readonly, because the instances are deeply frozen. Brands of primitives and methods of class instances remain. */
export type Immutable<T> = T extends
  | Primitive
  | Date
  | { toJSON(): unknown }
  | ((...args: never[]) => unknown)
  ? T
  : T extends object
    ? { readonly [K in keyof T]: Immutable<T[K]> }
    : T

/** An event class, as `subscribe`, a registry and a codec use it. */
export interface EventClass<E extends DomainEvent = DomainEvent> {
  // With `never`, every event constructor matches, whatever its payload is.
  new (input: never): E
  readonly name: string
  /** Name of the event on the wire. */
  readonly eventType: string
  readonly aggregateType: string
  /** Version of the payload's schema; becomes `eventVersion` of each event. */
  readonly schemaVersion: number
}

/** zod's type of an empty object forbids all fields, including those of the envelope, so it is left out. */
type Fields<T> = T extends Record<string, never> ? unknown : T

type IsUnion<T, U = T> = [T] extends [never]
  ? false
  : T extends unknown
    ? [U] extends [T]
      ? false
      : true
    : false

/** All fields of all alternatives of a union, undefined where an alternative lacks them. A class can extend it. */
type Merged<T> = {
  readonly [K in T extends unknown ? keyof T : never]: T extends unknown
    ? K extends keyof T
      ? T[K]
      : undefined
    : never
}

/** The instance type. A class cannot extend a union, so a union payload has the fields of all its alternatives. */
type Instance<Output> = DomainEvent &
  (IsUnion<Output> extends true ? Merged<Immutable<Output>> : Immutable<Fields<Output>>)

/** The constructor's input. If the payload has an index signature, it must also cover the envelope's fields. */
type Input<Fields> = string extends keyof Fields
  ? EnvelopeInput & { readonly [key: string]: Fields[keyof Fields] | EnvelopeInput[keyof EnvelopeInput] }
  : EnvelopeInput & Fields

/** Exists for the compiler only: the alternatives of a union payload. */
declare const alternatives: unique symbol

/** The class that `defineEvent` returns. Extend it, or use it as it is. */
export interface DefinedEventClass<In, Out> {
  new (input: Input<Fields<In>>): Instance<Out>
  readonly name: string
  readonly eventType: string
  readonly aggregateType: string
  readonly schemaVersion: number
  /** Exists for the compiler only: the alternatives of a union payload; `unknown` for any other payload. */
  readonly [alternatives]?: IsUnion<Out> extends true ? Immutable<Out> : unknown
}

/** The event type of a class, or the union of the event types of an array of classes. */
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

/** The names of an event, and the version of its payload. */
export interface EventDefinition {
  /** Name of the event on the wire, for instance `OrderCreated`. */
  readonly type: string
  /** Type of the aggregate that the event belongs to, for instance `Order`. */
  readonly aggregateType: string
  /** Version of the payload's schema, from 1. Default 1. */
  readonly schemaVersion?: number
}

/** A definition with a schema, which checks the payload on construction and on decoding. */
export interface EventDefinitionWithSchema<S extends StandardSchemaV1> extends EventDefinition {
  /**
   * Schema of the payload: any synchronous Standard Schema (zod, valibot, ArkType ...). It validates both the input of the
   * constructor and the JSON of a decoded message. So dates need a schema that accepts both forms (`z.coerce.date()`), and
   * integers beyond 2^53 arrive as `bigint`.
   */
  readonly schema: NoCollision<S>
  /**
   * Accept input fields that the schema does not return. Needed only for schemas that rename fields. By default a misspelt
   * field is refused, unless the schema itself passes unknown fields on (ArkType does without `'+': 'reject'`). Unknown
   * fields on the wire are always accepted, so that producers can add fields. Default false.
   */
  readonly allowUnknownFields?: boolean
}

/** Names that every event has: those of its envelope, in both spellings, and its methods. */
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
 * With a schema, the payload type is inferred and every payload is validated:
 *
 * @example
 * class OrderCreated extends defineEvent({
 *   type: 'OrderCreated',
 *   aggregateType: 'Order',
 *   schema: z.object({ customerId: z.uuid() }),
 * }) {}
 * const event = new OrderCreated({ aggregateId: 'Order-123', customerId })
 *
 * Without a schema, the type is trusted:
 *
 * @example
 * class OrderShipped extends defineEvent<{ trackingNumber: string }>()({
 *   type: 'OrderShipped',
 *   aggregateType: 'Order',
 * }) {}
 *
 * A subclass can add methods and getters, but no fields, because instances are frozen.
 *
 * @throws TypeError if the definition is wrong.
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
  // The overloads allow only this type. checkDefinition verifies it at run time.
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
  // buildEnvelope checks each field of this type.
  const envelope = buildEnvelope(kind, input as EnvelopeInput)
  return { envelope, ...check(payload, true) }
}

/** The payload of an event without a schema. Its type is trusted, so values that JSON gives back as another type are refused. */
function trust(eventType: string, given: EventPayload, isConstruction: boolean): CheckedPayload {
  const checked = freezePayload(eventType, given)
  const fault = isConstruction ? firstUnreadable(checked.payload, '') : undefined
  if (fault === undefined) return checked
  const rule = `${fault.rule}; give ${eventType} a schema that converts it back, or use its JSON form`
  throw new EventValidationError(eventType, [{ path: fault.path, rule }])
}

/** The payload of a decoded event. */
function validate(eventType: string, schema: StandardSchemaV1, given: EventPayload): CheckedPayload {
  return freezePayload(eventType, runSchema(eventType, schema, given))
}

/**
 * The payload of a new event, as every consumer will see it. Each consumer runs the schema again, on the decoded JSON. If
 * the schema or JSON changes the given payload, this function does the same once: the schema must accept the decoded JSON
 * and return an equal payload, otherwise the event is refused.
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
  const rule = 'is changed by the schema each time the event is read; make the transform idempotent'
  throw new EventValidationError(eventType, [{ path, rule }])
}

/** Runs the schema on the decoded JSON of a new event. */
function readBack(eventType: string, schema: StandardSchemaV1, decoded: EventPayload): EventPayload {
  try {
    return runSchema(eventType, schema, decoded)
  } catch (error) {
    if (!(error instanceof EventValidationError)) throw error
    const issues = error.issues.map(({ path, rule }) => ({
      path,
      rule: `cannot be read back: its own schema refuses its JSON, as every consumer would (${rule})`,
    }))
    throw new EventValidationError(eventType, issues, { cause: error })
  }
}

function decode(eventType: string, payload: EventPayload): EventPayload {
  try {
    // decodedForm returns an object for an object.
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
  // It is an object and no array, and its own fields are the payload.
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
  // ArkType's messages start with the path.
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
      throw new TypeError(`defineEvent: ${name} must be a non-empty string, got ${describeValue(value)}.`)
    }
  }
  const { type, schemaVersion } = definition
  if (schemaVersion !== undefined && !(Number.isSafeInteger(schemaVersion) && schemaVersion >= 1)) {
    throw new TypeError(
      `defineEvent: schemaVersion of ${type} must be an integer of at least 1, got ${describeValue(schemaVersion)}.`,
    )
  }
  if (schema !== undefined && !isStandardSchema(schema)) {
    throw new TypeError(
      `defineEvent: schema of ${type} must be a Standard Schema (zod, valibot, ArkType ...), got ${describeValue(schema)}.`,
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
