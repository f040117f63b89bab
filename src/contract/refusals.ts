import type { JsonSchema } from './payload-schemas.ts'

/** A rule that keeps a reader from accepting what a writer writes. */
export type RefusalRule =
  | 'field-missing'
  | 'field-refused'
  | 'type-changed'
  | 'value-refused'
  | 'limit-exceeded'
  | 'format-changed'

/** A place at which a reader may refuse what a writer writes. */
export interface Refusal {
  /** Path of the field, such as `customerId` or `lines[].sku`; empty for the payload itself. */
  readonly field: string
  readonly rule: RefusalRule
  readonly detail: string
}

/** The schemas with their roots, in which references are resolved. */
interface Side {
  readonly schema: unknown
  readonly root: JsonSchema
}

/** More levels are not compared: the schema is recursive. */
const MAX_DEPTH = 32

/** Lower and upper limits of a value, and how to compare them. */
const LIMITS = [
  ['minimum', 'lower'],
  ['exclusiveMinimum', 'lower'],
  ['minLength', 'lower'],
  ['minItems', 'lower'],
  ['maximum', 'upper'],
  ['exclusiveMaximum', 'upper'],
  ['maxLength', 'upper'],
  ['maxItems', 'upper'],
] as const

/** Where a reader with one schema may refuse what a writer with another one writes. */
export function refusals(reader: JsonSchema, writer: JsonSchema): readonly Refusal[] {
  return compare({ schema: reader, root: reader }, { schema: writer, root: writer }, '', 0)
}

function compare(given: Side, written: Side, field: string, depth: number): readonly Refusal[] {
  if (depth > MAX_DEPTH) return []
  const reader = resolved(given)
  const writer = resolved(written)
  const alternatives = alternativesOf(writer)
  if (alternatives !== undefined) {
    return alternatives
      .flatMap((schema) => compare(given, { ...written, schema }, field, depth + 1))
      .slice(0, 1)
  }
  const accepted = alternativesOf(reader)
  if (accepted !== undefined) {
    const outcomes = accepted.map((schema) => compare({ ...given, schema }, written, field, depth + 1))
    return outcomes.find(({ length }) => length === 0) ?? closest(outcomes)
  }
  const all = reader['allOf']
  const parts = Array.isArray(all)
    ? all.flatMap((schema) => compare({ ...given, schema }, written, field, depth + 1))
    : []
  return [...parts, ...compareOne(reader, writer, field), ...compareInner(given, written, field, depth)]
}

/** The alternative that accepts most of what is written. */
const closest = (outcomes: readonly (readonly Refusal[])[]) =>
  outcomes.toSorted((a, b) => a.length - b.length)[0] ?? []

function compareOne(reader: JsonSchema, writer: JsonSchema, field: string): readonly Refusal[] {
  if (isUnknown(writer)) return []
  const values = valuesOf(writer)
  const accepted = valuesOf(reader)
  const refused = accepted && (values ?? []).filter((value) => !accepted.some((one) => Object.is(one, value)))
  if (accepted !== undefined && values === undefined) {
    return [{ field, rule: 'value-refused', detail: `only ${list(accepted)} is read, any value is written` }]
  }
  if (refused !== undefined && refused.length > 0) {
    return [{ field, rule: 'value-refused', detail: `${list(refused)} is written, but not read` }]
  }
  const types = typesOf(reader)
  const wrong = types && typesWritten(writer).filter((type) => !isAmong(type, types))
  if (types !== undefined && wrong !== undefined && wrong.length > 0) {
    return [
      {
        field,
        rule: 'type-changed',
        detail: `${wrong.join(' or ')} is written, ${types.join(' or ')} is read`,
      },
    ]
  }
  return values === undefined ? [...limits(reader, writer, field), ...formats(reader, writer, field)] : []
}

function limits(reader: JsonSchema, writer: JsonSchema, field: string): readonly Refusal[] {
  return LIMITS.flatMap(([name, side]): readonly Refusal[] => {
    const limit = reader[name]
    if (typeof limit !== 'number') return []
    const own = writer[name]
    const isWithin = typeof own === 'number' && (side === 'lower' ? own >= limit : own <= limit)
    if (isWithin) return []
    const detail = `${name} ${limit} is read, ${typeof own === 'number' ? own : 'no limit'} is written`
    return [{ field, rule: 'limit-exceeded', detail }]
  })
}

function formats(reader: JsonSchema, writer: JsonSchema, field: string): readonly Refusal[] {
  const name = ['pattern', 'format'].find((key) => reader[key] !== undefined && reader[key] !== writer[key])
  if (name === undefined) return []
  const detail = `${name} ${String(reader[name])} is read, ${String(writer[name] ?? 'any text')} is written`
  return [{ field, rule: 'format-changed', detail }]
}

/** The fields of objects and the items of arrays. */
function compareInner(given: Side, written: Side, field: string, depth: number): readonly Refusal[] {
  const [reader, writer] = [resolved(given), resolved(written)]
  if (reader['items'] !== undefined && writer['items'] !== undefined) {
    const [own, other] = [reader['items'], writer['items']]
    return compare({ ...given, schema: own }, { ...written, schema: other }, `${field}[]`, depth + 1)
  }
  const fields = propertiesOf(reader)
  const writtenFields = propertiesOf(writer)
  if (!typesWritten(writer).includes('object') || isUnknown(writer)) return []
  const always = requiredOf(writer)
  const missing = requiredOf(reader)
    .filter((name) => !always.includes(name))
    .map((name): Refusal => {
      const isSometimes = name in writtenFields
      const detail = `it is read, but ${isSometimes ? 'not always' : 'not'} written`
      return { field: join(field, name), rule: 'field-missing', detail }
    })
  const inner = Object.keys(writtenFields).flatMap((name): readonly Refusal[] => {
    const path = join(field, name)
    const schema = fields[name]
    if (schema !== undefined)
      return compare({ ...given, schema }, { ...written, schema: writtenFields[name] }, path, depth + 1)
    if (reader['additionalProperties'] !== false) return []
    return [
      { field: path, rule: 'field-refused', detail: 'it is written, but the reader refuses unknown fields' },
    ]
  })
  return [...missing, ...inner]
}

function resolved({ schema, root }: Side): JsonSchema {
  if (typeof schema !== 'object' || schema === null) return {}
  const at: unknown = Reflect.get(schema, '$ref')
  // A schema is an object with keywords.
  if (typeof at !== 'string') return schema as JsonSchema
  const steps = at.replace(/^#\/?/, '').split('/').filter(Boolean)
  const target = steps.reduce<unknown>((node, step) => Reflect.get(Object(node), step), root)
  return target === schema ? {} : resolved({ schema: target, root })
}

function alternativesOf({ anyOf, oneOf }: JsonSchema): readonly unknown[] | undefined {
  const alternatives = anyOf ?? oneOf
  return Array.isArray(alternatives) ? alternatives : undefined
}

/** True if nothing is known about what is written. */
function isUnknown(writer: JsonSchema): boolean {
  const keys = Object.keys(writer).filter(
    (key) => key !== 'default' && key !== 'description' && key !== 'title',
  )
  return keys.length === 0 || (keys.length === 1 && writer['type'] === 'object')
}

function valuesOf(schema: JsonSchema): readonly unknown[] | undefined {
  if ('const' in schema) return [schema['const']]
  return Array.isArray(schema['enum']) ? schema['enum'] : undefined
}

function typesOf({ type }: JsonSchema): readonly string[] | undefined {
  if (typeof type === 'string') return [type]
  return Array.isArray(type) ? type : undefined
}

function typesWritten(writer: JsonSchema): readonly string[] {
  const values = valuesOf(writer)
  return typesOf(writer) ?? [...new Set((values ?? []).map(typeOf))]
}

function typeOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  return Number.isInteger(value) ? 'integer' : typeof value
}

const isAmong = (type: string, types: readonly string[]) =>
  types.includes(type) || (type === 'integer' && types.includes('number'))

const propertiesOf = ({ properties }: JsonSchema): JsonSchema => Object(properties)

const requiredOf = ({ required }: JsonSchema): readonly string[] => (Array.isArray(required) ? required : [])

const join = (field: string, name: string) => (field === '' ? name : `${field}.${name}`)

const list = (values: readonly unknown[]) => values.map((value) => JSON.stringify(value)).join(', ')
