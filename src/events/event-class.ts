import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { DomainEvent } from './domain-event.ts'
import type { EnvelopeInput, WIRE_ENVELOPE_KEYS } from './envelope.ts'
import type { UpcastChain } from './upcasts.ts'

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

/** An event class in the form that `subscribe`, registries and codecs use. */
export interface EventClass<E extends DomainEvent = DomainEvent> {
  // With `never`, every event constructor matches, whatever its payload is.
  new (input: never): E
  readonly name: string
  /** Name of the event on the wire. */
  readonly eventType: string
  readonly aggregateType: string
  /** Version of the payload's schema; becomes `eventVersion` of each event. */
  readonly schemaVersion: number
  /** Other names of the event. */
  readonly typeAliases: readonly string[]
  /** Other names of the aggregate type. */
  readonly aggregateTypeAliases: readonly string[]
}

/** The names of an event class. */
export type EventNames = Pick<EventClass, 'eventType' | 'aggregateType'> &
  Partial<Pick<EventClass, 'typeAliases' | 'aggregateTypeAliases'>>

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

/** For the compiler only: the alternatives of a union payload. */
declare const alternatives: unique symbol

/** The class that `defineEvent` returns. Extend it, or use it as it is. */
export interface DefinedEventClass<In, Out> {
  new (input: Input<Fields<In>>): Instance<Out>
  readonly name: string
  readonly eventType: string
  readonly aggregateType: string
  readonly schemaVersion: number
  readonly typeAliases: readonly string[]
  readonly aggregateTypeAliases: readonly string[]
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
  /** Version of the payload's schema, from 1. Default: the version that `upcasts` ends with, otherwise 1. */
  readonly schemaVersion?: number
  /**
   * Write events in this earlier version, to brokers and to stores, while consumers are running that do not know the current one.
   * The steps of `upcasts` above it need a way back. Default: the current version.
   */
  readonly publishAs?: number
  /**
   * Other names of the event: names that it had in earlier releases, or has in services in other languages, such as
   * `order.created`. An event with one of these names becomes an instance of this class, with `type` as its `eventType`. New
   * events are written with `type`.
   */
  readonly typeAliases?: readonly string[]
  /**
   * Other names of the aggregate type. An event of an aggregate of one of these types becomes an event of `aggregateType`. A stream
   * that is stored under one of them is continued under that name.
   */
  readonly aggregateTypeAliases?: readonly string[]
}

/** A field of a payload, or one within it. */
type FieldPath<P> = P extends unknown ? (keyof P & string) | `${keyof P & string}.${string}` : never

/** A definition without a schema. */
export interface EventDefinitionWithoutSchema<P> extends EventDefinition {
  /** Fields that tools never show. See {@link EventDefinitionWithSchema.sensitive}. */
  readonly sensitive?: readonly FieldPath<NoInfer<P>>[]
  /** Converts payloads of earlier versions to `P`. See {@link EventDefinitionWithSchema.upcasts}. */
  readonly upcasts?: UpcastChain<NoInfer<P>>
}

/** A definition with a schema, which checks the payload on construction and on decoding. */
export interface EventDefinitionWithSchema<S extends StandardSchemaV1> extends EventDefinition {
  /**
   * Schema of the payload: any synchronous Standard Schema (zod, valibot, ArkType ...). It validates both the input of
   * the constructor and the JSON of a decoded message. Dates therefore need a schema that accepts both a `Date` and a
   * string (`z.coerce.date()`), and integers beyond 2^53 arrive as `bigint`.
   */
  readonly schema: NoCollision<S>
  /**
   * Converts payloads of earlier versions to the input of `schema`. A stored or received event of an earlier version becomes an
   * instance of this class. Start the chain with `firstVersion`.
   */
  readonly upcasts?: UpcastChain<StandardSchemaV1.InferInput<NoInfer<S>>>
  /**
   * Fields whose values the operator's page and the command line never show, such as `card.number` or `lines.*.price`; `*` is any
   * one field or index. Name the fields of earlier versions, too. Default none.
   */
  readonly sensitive?: readonly FieldPath<StandardSchemaV1.InferInput<NoInfer<S>>>[]
  /**
   * Accept input fields that the schema does not return. Needed only for schemas that rename fields. By default a
   * misspelt field is refused, unless the schema itself returns unknown fields (ArkType does so without `'+':
   * 'reject'`). Unknown fields on the wire are always accepted, so that producers can add fields. Default false.
   */
  readonly allowUnknownFields?: boolean
}

/** Names that every event has: those of its envelope, in both spellings, and its methods. */
type TakenName = keyof DomainEvent | (typeof WIRE_ENVELOPE_KEYS)[number]

type Collision<T> = T extends unknown ? Extract<keyof T, TakenName> : never

export type NoCollision<S extends StandardSchemaV1> = [
  Collision<StandardSchemaV1.InferInput<S>> | Collision<StandardSchemaV1.InferOutput<S>>,
] extends [never]
  ? S
  : `payload field "${Extract<Collision<StandardSchemaV1.InferInput<S>> | Collision<StandardSchemaV1.InferOutput<S>>, string>}" is a name that every event already has: rename it`

export type NoCollisionFields<P> = [Collision<P>] extends [never]
  ? []
  : [`payload field "${Extract<Collision<P>, string>}" is a name that every event already has: rename it`]
