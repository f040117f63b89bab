import type { StandardSchemaV1 } from '@standard-schema/spec'
import { describeValue } from '../errors.ts'
import { rememberDefinition } from './definition.ts'
import { noteDefinitionSite } from './definition-site.ts'
import {
  DomainEvent,
  type EarlierForm,
  EventInit,
  type EventPayload,
  isEnvelopeKey,
  stateOf,
  takesEventInit,
  writtenFormOf,
} from './domain-event.ts'
import { buildEnvelope, type EnvelopeInput, type EventKind, textFault } from './envelope.ts'
import { EventValidationError } from './errors.ts'
import type {
  DefinedEventClass,
  EventClass,
  EventDefinitionWithoutSchema,
  EventDefinitionWithSchema,
  EventNames,
  NoCollisionFields,
} from './event-class.ts'
import { type PayloadCheck, trust, validate, validateNew } from './payload-check.ts'
import { decodedForm } from './round-trip.ts'
import { markSensitive } from './sensitive.ts'
import { isStandardSchema, Upcasts } from './upcasts.ts'

/**
 * Defines a domain event. With a schema, the payload type is inferred and every payload is validated. Without a schema, the type
 * is not checked at run time. A subclass can add methods and getters, but no fields, because instances are frozen.
 *
 * @throws TypeError if the definition is wrong.
 * @example
 * class OrderCreated extends defineEvent({
 *   type: 'OrderCreated',
 *   aggregateType: 'Order',
 *   schema: z.object({ customerId: z.uuid() }),
 * }) {}
 * const event = new OrderCreated({ aggregateId: 'Order-123', customerId })
 *
 * @example
 * class OrderShipped extends defineEvent<{ trackingNumber: string }>()({
 *   type: 'OrderShipped',
 *   aggregateType: 'Order',
 * }) {}
 */
export function defineEvent<S extends StandardSchemaV1>(
  definition: EventDefinitionWithSchema<S>,
): DefinedEventClass<StandardSchemaV1.InferInput<S>, StandardSchemaV1.InferOutput<S>>
export function defineEvent<P extends object>(
  ...collision: NoCollisionFields<P>
): (definition: EventDefinitionWithoutSchema<P>) => DefinedEventClass<P, P>
export function defineEvent(definition?: unknown): unknown {
  if (definition === undefined) {
    return function define(withoutSchema: unknown) {
      // The overload allows only this type. The checks verify it at run time.
      const given = givenParts(withoutSchema, NAMES) as unknown as AnyDefinition
      return noteDefinitionSite(makeEventClass(given, undefined, false), define)
    }
  }
  // The overloads allow only this type. checkDefinition verifies it at run time.
  const { schema, allowUnknownFields, ...rest } = givenParts(definition, [
    ...NAMES,
    'schema',
    'allowUnknownFields',
  ]) as unknown as EventDefinitionWithSchema<StandardSchemaV1>
  // NoCollision<S> is S for every schema that compiles.
  const eventClass = makeEventClass(rest, schema as StandardSchemaV1, allowUnknownFields ?? false)
  return noteDefinitionSite(eventClass, defineEvent)
}

const NAMES: readonly (keyof AnyDefinition)[] = [
  'type',
  'aggregateType',
  'schemaVersion',
  'publishAs',
  'typeAliases',
  'aggregateTypeAliases',
  'sensitive',
  'upcasts',
]

/** The parts of a definition that are set. @throws TypeError if a part is unknown. */
function givenParts(definition: unknown, known: readonly string[]): Readonly<Record<string, unknown>> {
  if (typeof definition !== 'object' || definition === null) {
    throw new TypeError(`defineEvent takes a definition ({ type, ... }), got ${describeValue(definition)}.`)
  }
  const given = Object.entries(definition).filter(([, value]) => value !== undefined && value !== null)
  const unknown = given.find(([name]) => !known.includes(name))
  if (unknown === undefined) return Object.fromEntries(given)
  throw new TypeError(
    `defineEvent: ${unknown[0]} is not a part of a definition (there are: ${known.join(', ')}).`,
  )
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
  const typeAliases = Object.freeze([...(definition.typeAliases ?? [])])
  const aggregateTypeAliases = Object.freeze([...(definition.aggregateTypeAliases ?? [])])
  const names = { eventType: type, aggregateType, typeAliases, aggregateTypeAliases }
  // checkDefinition has refused any other chain.
  const chain = upcasts as Upcasts<unknown> | undefined
  const convert = conversionOf(names, chain)
  const earlier = earlierForm(type, chain, definition.publishAs ?? schemaVersion)
  const kind: EventKind = { eventType: type, aggregateType, eventVersion: schemaVersion }
  const check: PayloadCheck =
    schema === undefined
      ? (payload, isConstruction) => trust(type, payload, isConstruction)
      : (payload, isConstruction) =>
          isConstruction
            ? validateNew(type, schema, payload, !allowUnknownFields)
            : validate(type, schema, payload)

  const eventClass = takesEventInit(
    class extends DomainEvent {
      static readonly eventType = type
      static readonly aggregateType = aggregateType
      static readonly schemaVersion = schemaVersion
      static readonly typeAliases = typeAliases
      static readonly aggregateTypeAliases = aggregateTypeAliases

      constructor(input: EnvelopeInput | EventInit) {
        if (input instanceof EventInit) {
          const init = convert === undefined ? input : convert(input)
          const checked = init.isTrusted ? init : check(init.payload, false)
          super(init.envelope, stateOf(init.envelope, checked, earlier, init.source))
        } else {
          const given = payloadOf(kind, input)
          // buildEnvelope checks each field of its input.
          const envelope = buildEnvelope(kind, input)
          const checked = check(given, true)
          super(envelope, stateOf(envelope, checked, earlier))
          if (earlier !== undefined) readBackFrom(earlier, this, chain, check)
        }
      }
    },
  )
  markSensitive([type, ...typeAliases], definition.sensitive ?? [])
  rememberDefinition(eventClass, {
    schema,
    upcasts: chain,
    writtenVersion: definition.publishAs ?? schemaVersion,
  })
  return eventClass
}

/**
 * A function that converts the input of an event with an earlier name or version to the current ones; undefined if there are
 * none.
 */
function conversionOf(
  names: Required<EventNames>,
  upcasts: Upcasts<unknown> | undefined,
): ((init: EventInit) => EventInit) | undefined {
  const hasAliases = names.typeAliases.length + names.aggregateTypeAliases.length > 0
  if (!hasAliases) return upcasts && ((init) => upcastInit(init, upcasts))
  return (init) => renamedInit(upcasts === undefined ? init : upcastInit(init, upcasts), names)
}

/** Undefined if events are written in the current version. */
function earlierForm(
  type: string,
  upcasts: Upcasts<unknown> | undefined,
  version: number,
): EarlierForm | undefined {
  if (upcasts === undefined || version === upcasts.version) return undefined
  return { version, downcast: (payload) => upcasts.downcast(type, payload, version) }
}

/**
 * Does to a new event what its consumers will do, so that an event that they could not read is refused.
 * @throws EventValidationError
 */
function readBackFrom(
  { version }: EarlierForm,
  event: DomainEvent,
  upcasts: Upcasts<unknown> | undefined,
  check: PayloadCheck,
): void {
  // The decoded form of an object is an object.
  const payload = decodedForm(writtenFormOf(event).payload, '') as EventPayload
  try {
    if (upcasts !== undefined) check(upcasts.upcast(event.eventType, payload, version), false)
  } catch (error) {
    const rule = `cannot be read back from version ${version}, in which it is written`
    throw new EventValidationError(event.eventType, [{ path: '', rule }], { cause: error })
  }
}

/** Converts the input of an event of an earlier version to the current version. */
function upcastInit(init: EventInit, upcasts: Upcasts<unknown>): EventInit {
  const { envelope, payload, source } = init
  const { eventType, eventVersion } = envelope
  if (eventVersion >= upcasts.version) return init
  const current = upcasts.upcast(eventType, payload, eventVersion)
  return new EventInit({ ...envelope, eventVersion: upcasts.version }, current, false, { source })
}

function renamedInit(init: EventInit, names: Required<EventNames>): EventInit {
  const { envelope, payload, isTrusted, written } = init
  const { eventType } = names
  const isOther = names.aggregateTypeAliases.includes(envelope.aggregateType)
  if (!isOther && envelope.eventType === eventType) return init
  const aggregateType = isOther ? names.aggregateType : envelope.aggregateType
  const source = init.source && {
    ...init.source,
    names: { eventType: envelope.eventType, aggregateType: envelope.aggregateType },
  }
  return new EventInit({ ...envelope, eventType, aggregateType }, payload, isTrusted, { written, source })
}

/** The fields of an input that are not part of the envelope. */
function payloadOf(kind: EventKind, input: unknown): EventPayload {
  if (typeof input !== 'object' || input === null) {
    const rule = `takes an object with aggregateId and the payload's fields, got ${describeValue(input)}`
    throw new EventValidationError(kind.eventType, [{ path: '', rule }])
  }
  const given = input as Readonly<Record<string, unknown>>
  const payload: Record<string, unknown> = {}
  // Object.entries would be a fifth of the cost of an event.
  for (const key of Object.keys(given)) {
    // An assignment to this name would set the prototype of the payload.
    if (key === '__proto__') {
      throw new EventValidationError(kind.eventType, [{ path: key, rule: 'is not an allowed name' }])
    }
    if (!isEnvelopeKey(key)) payload[key] = given[key]
    else if (key === 'eventType' || key === 'aggregateType' || key === 'eventVersion') {
      throw new EventValidationError(kind.eventType, [{ path: key, rule: 'is fixed by the event class' }])
    }
  }
  return payload
}

function checkDefinition(definition: AnyDefinition, schema: unknown): void {
  for (const name of ['type', 'aggregateType'] as const) {
    const value = definition[name]
    const rule = textFault(value)
    if (rule !== undefined) throw new TypeError(`defineEvent: ${name} ${rule}.`)
  }
  checkAliases(definition, 'type', 'typeAliases')
  checkAliases(definition, 'aggregateType', 'aggregateTypeAliases')
  checkTexts(definition, 'sensitive')
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
  checkPublishAs(definition)
  if (schema !== undefined && !isStandardSchema(schema)) {
    throw new TypeError(
      `defineEvent: schema of ${type} must be a Standard Schema (zod, valibot, ArkType ...), got ${describeValue(schema)}.`,
    )
  }
}

function checkAliases(
  definition: AnyDefinition,
  name: 'type' | 'aggregateType',
  option: 'typeAliases' | 'aggregateTypeAliases',
): void {
  if (!checkTexts(definition, option).includes(definition[name])) return
  throw new TypeError(`defineEvent: ${option} of ${definition.type} must not contain its ${name} itself.`)
}

function checkTexts(
  definition: AnyDefinition,
  option: 'typeAliases' | 'aggregateTypeAliases' | 'sensitive',
): readonly string[] {
  const texts: unknown = definition[option] ?? []
  if (Array.isArray(texts) && texts.every((text) => typeof text === 'string' && text !== '')) return texts
  throw new TypeError(
    `defineEvent: ${option} of ${definition.type} must be an array of non-empty strings, got ${describeValue(texts)}.`,
  )
}

function checkPublishAs({ type, publishAs, schemaVersion, upcasts }: AnyDefinition): void {
  if (publishAs === undefined) return
  const chain = upcasts instanceof Upcasts ? upcasts : undefined
  const [lowest, highest] = [chain?.lowestVersion ?? schemaVersion ?? 1, chain?.version ?? schemaVersion ?? 1]
  if (Number.isSafeInteger(publishAs) && publishAs >= lowest && publishAs <= highest) return
  throw new TypeError(
    `defineEvent: publishAs of ${type} must be a version from ${lowest} to ${highest}, got ${describeValue(publishAs)}. ` +
      'To write an earlier version, give each step of upcasts above it a way back: to(version, step, back).',
  )
}
