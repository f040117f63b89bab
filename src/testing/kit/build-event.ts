import { contractOf, type EventClass, type EventOf, type JsonSchema } from '../../index.ts'
import { NoSampleError, Sampler } from './sample-value.ts'

/** Fields of an event: of its payload and of its envelope. */
export type EventFields<C extends EventClass> = C extends new (
  input: infer Input,
) => unknown
  ? Partial<Input>
  : never

/**
 * Builds a valid event for a test. Required fields that the test does not pass get the smallest value that the schema accepts, and
 * the aggregate id is, for example, `Order-1`. The values are the same in each run. It needs a schema whose library supports
 * Standard JSON Schema, as zod 4.2, ArkType 2.1.28 and Valibot with `@valibot/to-json-schema` do.
 *
 * @throws TypeError if the schema does not say what a field accepts; pass that field.
 * @throws EventValidationError if a passed field is wrong.
 * @example
 * const placed = buildEvent(OrderPlaced, { total: 42 })
 */
export function buildEvent<const C extends EventClass>(
  eventClass: C,
  fields: EventFields<C> = {} as EventFields<C>,
): EventOf<C> {
  const { eventType, aggregateType } = eventClass
  const payload = contractOf([eventClass]).events[eventType]?.payload
  const schema = payload?.reads ?? payload?.writes ?? {}
  // The class checks the payload.
  const Class = eventClass as unknown as new (input: object) => EventOf<C>
  return new Class({ aggregateId: `${aggregateType}-1`, ...sampleOf(eventClass, schema, fields), ...fields })
}

/** The required fields of the payload that the test does not pass. */
function sampleOf({ eventType }: EventClass, schema: JsonSchema, fields: object): Record<string, unknown> {
  const sampler = new Sampler(schema)
  const { properties, required } = schema
  const missing = [required].flat().filter((name) => typeof name === 'string' && !Object.hasOwn(fields, name))
  try {
    if (properties === undefined) return Object(sampler.valueOf({ type: 'object', ...schema }, ''))
    // The required fields are names, filtered above.
    return Object.fromEntries(
      missing.map((name) => [
        name,
        sampler.valueOf(Object(Object(properties)[name as string]), String(name)),
      ]),
    )
  } catch (error) {
    if (!(error instanceof NoSampleError)) throw error
    throw new TypeError(`${eventType} cannot be built. ${error.message}. Pass this field to buildEvent.`, {
      cause: error,
    })
  }
}
