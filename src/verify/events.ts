import type { StandardSchemaV1 } from '@standard-schema/spec'
import { defineEvent } from '../events/index.ts'

interface Payload<F> {
  /** Position of the event in its aggregate, from 0. */
  readonly n: number
  /** How often `flaky` handlers fail for it. */
  readonly failures: F
}

/** The event that a run publishes: number `n` of its aggregate. `flaky` handlers fail `failures` times for it. */
export class Tortured extends defineEvent({
  type: 'Tortured',
  aggregateType: 'Torture',
  schema: payloadWith(Number.isSafeInteger as (value: unknown) => value is number),
}) {}

/** An event that no consumer can decode, because its payload does not match the schema of {@link Tortured}. */
export class Spoiled extends defineEvent({
  type: 'Tortured',
  aggregateType: 'Torture',
  schema: payloadWith((value): value is 'none' => value === 'none'),
}) {}

/** A schema without a library for it, which users may not have. */
function payloadWith<F>(isFailures: (value: unknown) => value is F): StandardSchemaV1<Payload<F>> {
  return {
    '~standard': {
      version: 1,
      vendor: 'eventspine',
      validate: (value) => {
        // A payload is an object.
        const { n, failures } = value as Readonly<Record<string, unknown>>
        if (typeof n === 'number' && isFailures(failures)) return { value: { n, failures } }
        return { issues: [{ message: 'n and failures must be numbers' }] }
      },
    },
  }
}
