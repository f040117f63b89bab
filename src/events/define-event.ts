import type { StandardSchemaV1 } from '@standard-schema/spec'
import { describeValue } from '../errors.ts'
import { noteDefinitionSite } from './definition-site.ts'
import { DomainEvent, EventInit, isEnvelopeKey, takesEventInit } from './domain-event.ts'
import { buildEnvelope, type EnvelopeInput, type EventKind } from './envelope.ts'
import { EventValidationError } from './errors.ts'
import type {
  DefinedEventClass,
  EventClass,
  EventDefinitionWithoutSchema,
  EventDefinitionWithSchema,
  NoCollisionFields,
} from './event-class.ts'
import { type PayloadCheck, trust, validate, validateNew } from './payload-check.ts'
import { isStandardSchema, Upcasts } from './upcasts.ts'

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
 * Without a schema, the type is not checked at run time:
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
): (definition: EventDefinitionWithoutSchema<P>) => DefinedEventClass<P, P>
export function defineEvent(definition?: unknown): unknown {
  if (definition === undefined) {
    return function define(withoutSchema: AnyDefinition) {
      return noteDefinitionSite(makeEventClass(withoutSchema, undefined, false), define)
    }
  }
  // The overloads allow only this type. checkDefinition verifies it at run time.
  const { schema, allowUnknownFields, ...rest } = definition as EventDefinitionWithSchema<StandardSchemaV1>
  // NoCollision<S> is S for every schema that compiles.
  const eventClass = makeEventClass(rest, schema as StandardSchemaV1, allowUnknownFields ?? false)
  return noteDefinitionSite(eventClass, defineEvent)
}

/** A definition, without its schema. */
type AnyDefinition = EventDefinitionWithoutSchema<unknown>

function makeEventClass(
  definition: AnyDefinition,
  schema: StandardSchemaV1 | undefined,
  allowUnknownFields: boolean,
): EventClass {
  checkDefinition(definition, schema)
  const { type, aggregateType, upcasts, schemaVersion = upcasts?.version ?? 1 } = definition
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
          const { envelope, payload, isTrusted } =
            upcasts instanceof Upcasts && input.envelope.eventVersion < schemaVersion
              ? upcastInit(input, upcasts)
              : input
          const checked = isTrusted ? input : check(payload, false)
          super(envelope, checked.payload, checked.written)
        } else {
          const { envelope, payload, written } = construct(kind, input, check)
          super(envelope, payload, written)
        }
      }
    },
  )
}

/** Converts the input of an event of an earlier version to the current version. */
function upcastInit({ envelope, payload }: EventInit, upcasts: Upcasts<unknown>): EventInit {
  const { eventType, eventVersion } = envelope
  const current = upcasts.upcast(eventType, payload, eventVersion)
  return new EventInit({ ...envelope, eventVersion: upcasts.version }, current, false)
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

function checkDefinition(definition: AnyDefinition, schema: unknown): void {
  for (const name of ['type', 'aggregateType'] as const) {
    const value = definition[name]
    if (typeof value !== 'string' || value === '') {
      throw new TypeError(`defineEvent: ${name} must be a non-empty string, got ${describeValue(value)}.`)
    }
  }
  const { type, schemaVersion, upcasts } = definition
  if (schemaVersion !== undefined && !(Number.isSafeInteger(schemaVersion) && schemaVersion >= 1)) {
    throw new TypeError(
      `defineEvent: schemaVersion of ${type} must be an integer of at least 1, got ${describeValue(schemaVersion)}.`,
    )
  }
  if (upcasts !== undefined && !(upcasts instanceof Upcasts)) {
    throw new TypeError(
      `defineEvent: upcasts of ${type} must start with firstVersion, got ${describeValue(upcasts)}.`,
    )
  }
  if (upcasts !== undefined && schemaVersion !== undefined && upcasts.version !== schemaVersion) {
    throw new TypeError(
      `defineEvent: upcasts of ${type} must end with schemaVersion ${schemaVersion}, but end with version ${upcasts.version}.`,
    )
  }
  if (schema !== undefined && !isStandardSchema(schema)) {
    throw new TypeError(
      `defineEvent: schema of ${type} must be a Standard Schema (zod, valibot, ArkType ...), got ${describeValue(schema)}.`,
    )
  }
}
