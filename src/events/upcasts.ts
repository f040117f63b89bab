import type { StandardSchemaV1 } from '@standard-schema/spec'
import { describeValue } from '../errors.ts'
import type { EventPayload } from './domain-event.ts'
import { EventValidationError } from './errors.ts'
import { runSchema } from './payload-check.ts'

/**
 * A function that converts a payload to the next version. It must be synchronous, and its result must depend only on
 * the payload.
 */
type Convert = (payload: EventPayload) => unknown

/** The step from a version to the next one, and the way back, if there is one. */
interface Step {
  readonly up: Convert
  readonly back: Convert | undefined
}

type TupleOf<N extends number, T extends readonly unknown[] = []> = T['length'] extends N
  ? T
  : TupleOf<N, [...T, unknown]>

/** The version that follows a version. The compiler refuses any other version in {@link Upcasts.to}. */
type Next<V extends number> = number extends V ? number : Extract<[...TupleOf<V>, unknown]['length'], number>

/** For the compiler only: the payload that a chain ends with. */
declare const payloadType: unique symbol

/** A chain of upcasts that ends with a payload of this type. Create it with {@link firstVersion}. */
export interface UpcastChain<Payload> {
  /** The version that the chain ends with. */
  readonly version: number
  /** Exists for the compiler only. */
  readonly [payloadType]?: Payload | undefined
}

/** A chain of steps from version 1 of a payload to a later version. Immutable; start it with {@link firstVersion}. */
export class Upcasts<Payload, Version extends number = number> implements UpcastChain<Payload> {
  /** Exists for the compiler only. */
  declare readonly [payloadType]?: Payload | undefined
  /** The version that the chain ends with. */
  readonly version: Version
  readonly #schema: StandardSchemaV1 | undefined
  readonly #steps: readonly Step[]

  /** @internal */
  constructor(schema: StandardSchemaV1 | undefined, steps: readonly Step[]) {
    this.#schema = schema
    this.#steps = steps
    // A chain starts at version 1, and each step adds 1. The types of firstVersion and `to` count in the same way.
    this.version = (steps.length + 1) as Version
  }

  /**
   * Adds the step to the next version. Its input is the result of the previous step.
   *
   * @param back - the way back, which `publishAs` needs: converts the JSON of a payload of this version to the version before.
   * @throws TypeError if a version is missing before this one.
   */
  to<NextPayload extends object>(
    version: Next<Version>,
    step: (payload: Payload) => NextPayload,
    back?: (payload: NoInfer<NextPayload>) => Payload,
  ): Upcasts<NextPayload, Next<Version>> {
    if (version !== this.version + 1) {
      throw new TypeError(
        `Upcasts: the step after version ${this.version} must lead to version ${this.version + 1}, got ${describeValue(version)}. Add the missing step.`,
      )
    }
    assertFunction(step, version, 'step')
    if (back !== undefined) assertFunction(back, version, 'way back')
    // The payload passed to the step is the result of the previous step, or of the first version's schema.
    const added = { up: step, back } as unknown as Step
    return new Upcasts<NextPayload, Next<Version>>(this.#schema, [...this.#steps, added])
  }

  /**
   * Converts the payload of an earlier version to the last version of the chain.
   * @throws EventValidationError if a step fails, or the schema of version 1 refuses the payload.
   * @internal
   */
  upcast(eventType: string, given: EventPayload, from: number): EventPayload {
    let payload = from === 1 && this.#schema !== undefined ? runSchema(eventType, this.#schema, given) : given
    for (let version = from; version < this.version; version += 1) {
      const step = this.#steps[version - 1]?.up as Convert
      payload = runStep(eventType, step, payload, `upcast from version ${version} to ${version + 1}`)
    }
    return payload
  }

  /**
   * The schema of version 1, if one was given.
   * @internal
   */
  get firstSchema(): StandardSchemaV1 | undefined {
    return this.#schema
  }

  /**
   * The first version, counted down from the last, from which there is no way back.
   * @internal
   */
  get lowestVersion(): number {
    let version: number = this.version
    while (this.#steps[version - 2]?.back !== undefined) version -= 1
    return version
  }

  /**
   * Converts the JSON of a payload of the last version to an earlier version.
   * @throws EventValidationError if the way back fails.
   * @internal
   */
  downcast(eventType: string, given: EventPayload, to: number): EventPayload {
    let payload = given
    for (let version: number = this.version; version > to; version -= 1) {
      const back = this.#steps[version - 2]?.back as Convert
      payload = runStep(eventType, back, payload, `downcast from version ${version} to ${version - 1}`)
    }
    return payload
  }
}

/**
 * Starts the chain of upcasts of an event. The payload of version 1 is given as a schema or as a type.
 *
 * @example
 * const upcasts = firstVersion(z.object({ customer: z.string() }))
 *   .to(2, ({ customer }) => ({ customerId: customer }))
 *   .to(3, (v2) => ({ ...v2, currency: 'EUR' }))
 *
 * @param schema - validates payloads of version 1; the first step gets its output. Without a schema, the payload is not
 * validated.
 * @throws TypeError if it is not a Standard Schema.
 */
export function firstVersion<S extends StandardSchemaV1>(
  schema: S,
): Upcasts<StandardSchemaV1.InferOutput<S>, 1>
export function firstVersion<P extends object>(): Upcasts<P, 1>
export function firstVersion(schema?: StandardSchemaV1): Upcasts<unknown, 1> {
  if (schema !== undefined && !isStandardSchema(schema)) {
    throw new TypeError(
      `firstVersion: the schema must be a Standard Schema (zod, valibot, ArkType ...), got ${describeValue(schema)}.`,
    )
  }
  return new Upcasts<unknown, 1>(schema, [])
}

export function isStandardSchema(value: unknown): value is StandardSchemaV1 {
  return (
    (typeof value === 'object' || typeof value === 'function') &&
    value !== null &&
    '~standard' in value &&
    typeof value['~standard'] === 'object'
  )
}

function assertFunction(value: unknown, version: number, what: string): void {
  if (typeof value === 'function') return
  throw new TypeError(
    `Upcasts: the ${what} of version ${version} must be a function, got ${describeValue(value)}.`,
  )
}

function runStep(eventType: string, step: Convert, payload: EventPayload, what: string): EventPayload {
  const failed = (rule: string, cause?: unknown) =>
    new EventValidationError(eventType, [{ path: '', rule: `the ${what} ${rule}` }], { cause })
  let result: unknown
  try {
    result = step(payload)
  } catch (error) {
    throw failed('failed', error)
  }
  if (result instanceof Promise) {
    result.catch(() => undefined)
    throw failed('is asynchronous; it must return the payload')
  }
  if (typeof result !== 'object' || result === null || Array.isArray(result)) {
    throw failed(`must return an object, got ${describeValue(result)}`)
  }
  // It is an object, not an array, and its own fields are the payload.
  return result as EventPayload
}
