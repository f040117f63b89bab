import type { JsonSchema } from '../../index.ts'

/** Texts of the formats that JSON Schema and the libraries name. */
const FORMATS: Readonly<Record<string, string>> = {
  uuid: '00000000-0000-4000-8000-000000000001',
  guid: '00000000-0000-4000-8000-000000000001',
  email: 'ann@example.com',
  uri: 'https://example.com/',
  url: 'https://example.com/',
  hostname: 'example.com',
  ipv4: '192.0.2.1',
  ipv6: '2001:db8::1',
  date: '2000-01-01',
  time: '00:00:00Z',
  'date-time': '2000-01-01T00:00:00.000Z',
  duration: 'PT1S',
}

/** No value is known that the schema accepts. */
export class NoSampleError extends Error {
  override readonly name = 'NoSampleError'
}

/** Builds the smallest value that a JSON Schema accepts: required fields only, and the lowest number of elements. */
export class Sampler {
  readonly #root: JsonSchema

  constructor(root: JsonSchema) {
    this.#root = root
  }

  /** @throws NoSampleError with the path of the field. */
  valueOf(schema: JsonSchema, path: string): unknown {
    if ('const' in schema) return schema['const']
    if (Array.isArray(schema['enum'])) return schema['enum'][0]
    if ('default' in schema) return schema['default']
    if (typeof schema['$ref'] === 'string') return this.valueOf(this.#target(schema['$ref'], path), path)
    for (const keyword of ['anyOf', 'oneOf']) {
      const choices = schemasIn(schema[keyword])
      const chosen = choices.find(({ type }) => type !== 'null') ?? choices[0]
      if (chosen !== undefined) return this.valueOf({ ...without(schema, keyword), ...chosen }, path)
    }
    const parts = schemasIn(schema['allOf'])
    if (parts.length > 0) return this.valueOf(merged([without(schema, 'allOf'), ...parts]), path)
    return this.#ofType(schema, path)
  }

  #ofType(schema: JsonSchema, path: string): unknown {
    const types = [schema['type']].flat()
    switch (types.find((type) => type !== 'null') ?? types[0]) {
      case 'string':
        return textOf(schema, path)
      case 'integer':
      case 'number':
        return numberOf(schema, path)
      case 'boolean':
        return true
      case 'null':
        return null
      case 'array':
        return this.#elements(schema, path)
      case 'object':
        return this.#fields(schema, path)
      default:
        throw new NoSampleError(`${path}: its schema says nothing about its value`)
    }
  }

  #fields(schema: JsonSchema, path: string): Record<string, unknown> {
    const properties = Object(schema['properties'])
    const required = Array.isArray(schema['required']) ? schema['required'] : []
    return Object.fromEntries(
      required.map((name) => [
        name,
        this.valueOf(Object(properties[name]), path === '' ? name : `${path}.${name}`),
      ]),
    )
  }

  #elements(schema: JsonSchema, path: string): readonly unknown[] {
    const first = schemasIn(schema['prefixItems'])
    const length = Math.max(first.length, numeric(schema['minItems']) ?? 0)
    return Array.from({ length }, (_, index) =>
      this.valueOf(first[index] ?? Object(schema['items']), `${path}[${index}]`),
    )
  }

  #target(ref: string, path: string): JsonSchema {
    let target: unknown = this.#root
    for (const key of ref.split('/').slice(1)) target = Object(target)[decodeURIComponent(key)]
    if (typeof target === 'object' && target !== null) return target as JsonSchema
    throw new NoSampleError(`${path}: its schema refers to ${ref}, which is missing`)
  }
}

function textOf({ format, pattern, minLength, maxLength }: JsonSchema, path: string): string {
  const known = typeof format === 'string' ? FORMATS[format] : undefined
  if (known !== undefined) return known
  if (pattern !== undefined || format !== undefined) {
    throw new NoSampleError(`${path}: no text is known that matches ${pattern ?? format}`)
  }
  return 'text'.padEnd(numeric(minLength) ?? 0, 'x').slice(0, numeric(maxLength) ?? Number.POSITIVE_INFINITY)
}

/** 1 if the schema accepts it, otherwise the accepted number that is nearest to it. */
function numberOf(schema: JsonSchema, path: string): number {
  const step = numeric(schema['multipleOf']) ?? (schema['type'] === 'integer' ? 1 : undefined)
  const above = numeric(schema['exclusiveMinimum'])
  const below = numeric(schema['exclusiveMaximum'])
  const least = Math.max(
    numeric(schema['minimum']) ?? Number.NEGATIVE_INFINITY,
    above ?? Number.NEGATIVE_INFINITY,
  )
  const most = Math.min(
    numeric(schema['maximum']) ?? Number.POSITIVE_INFINITY,
    below ?? Number.POSITIVE_INFINITY,
  )
  const candidates = [1, least, most, least + (step ?? 1), most - (step ?? 1), (least + most) / 2]
  const fitting = candidates
    .map((candidate) => (step === undefined ? candidate : Math.ceil(candidate / step) * step))
    .toSorted((a, b) => Math.abs(a - 1) - Math.abs(b - 1))
    .find((n) => Number.isFinite(n) && n >= least && n <= most && n !== above && n !== below)
  if (fitting === undefined)
    throw new NoSampleError(`${path}: no number is known between ${least} and ${most}`)
  return fitting
}

const numeric = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined)

/** Schemas may be `true`, which accepts everything. */
const schemasIn = (value: unknown): readonly JsonSchema[] => (Array.isArray(value) ? value.map(Object) : [])

function without(schema: JsonSchema, keyword: string): JsonSchema {
  return Object.fromEntries(Object.entries(schema).filter(([name]) => name !== keyword))
}

function merged(parts: readonly JsonSchema[]): JsonSchema {
  const properties = parts.map((part) => Object(part['properties']))
  const required = parts.flatMap((part) => (Array.isArray(part['required']) ? part['required'] : []))
  return { ...Object.assign({}, ...parts), properties: Object.assign({}, ...properties), required }
}
