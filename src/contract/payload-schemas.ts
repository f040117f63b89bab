import type { StandardJSONSchemaV1, StandardSchemaV1 } from '@standard-schema/spec'

/** A JSON Schema of draft 2020-12. */
export type JsonSchema = Readonly<Record<string, unknown>>

/** The payload of one version, as it is written and as it is read. */
export interface PayloadSchemas {
  /** Schema of every payload that this version writes. */
  readonly writes: JsonSchema
  /** Schema of the payloads that this version reads; left out if it is the same. A field with a default is optional here. */
  readonly reads?: JsonSchema
}

/** Every payload; for a schema whose library gives no JSON Schema. */
const ANYTHING: JsonSchema = { type: 'object' }

/** zod gives no JSON Schema for dates and bigints, because JSON has neither. An event writes them as text and as an integer. */
const ZOD_OPTIONS = {
  unrepresentable: 'any',
  override: ({ zodSchema, jsonSchema }: { zodSchema: unknown; jsonSchema: Record<string, unknown> }) => {
    const type: unknown = Reflect.get(Object(Reflect.get(Object(zodSchema), '_zod')), 'def')?.type
    if (type === 'date') Object.assign(jsonSchema, { type: 'string', format: 'date-time' })
    if (type === 'bigint') jsonSchema['type'] = 'integer'
  },
}

/** The schemas of a payload, as far as the schema's library can give them (Standard JSON Schema). */
export function payloadSchemasOf(schema: StandardSchemaV1 | undefined): PayloadSchemas {
  const standard = schema?.['~standard']
  if (standard === undefined || !isConverter(standard)) return { writes: ANYTHING }
  const libraryOptions = standard.vendor === 'zod' ? ZOD_OPTIONS : {}
  const options = { target: 'draft-2020-12', libraryOptions } as const
  const [writes, reads] = [
    plain(standard.jsonSchema.output(options)),
    plain(standard.jsonSchema.input(options)),
  ]
  return JSON.stringify(writes) === JSON.stringify(reads) ? { writes } : { writes, reads }
}

/** The same without the keywords that say nothing about an event. */
function plain({ $schema: _draft, '~standard': _own, ...schema }: Record<string, unknown>): JsonSchema {
  // A plain copy: libraries return objects with hidden properties.
  return JSON.parse(JSON.stringify(schema))
}

function isConverter<P extends StandardSchemaV1.Props>(
  standard: P,
): standard is P & { readonly jsonSchema: StandardJSONSchemaV1.Converter } {
  return 'jsonSchema' in standard && typeof standard.jsonSchema === 'object'
}
