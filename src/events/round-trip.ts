import { hasToJson, immutableCopy, UnsupportedValue } from './immutable.ts'

/** ISO 8601 in UTC as eventsource-py writes it: with 6 digits of fraction, or none if the fraction is zero. */
export function wireTime(time: Date): string {
  const iso = time.toISOString()
  return iso.endsWith('.000Z') ? `${iso.slice(0, -5)}Z` : `${iso.slice(0, -1)}000Z`
}

/**
 * Returns the data as a consumer decodes it from JSON, before the schema runs: dates become text, small bigints become
 * numbers, instances become the result of their `toJSON`, and undefined fields are omitted.
 *
 * @param value - a copy made by {@link immutableCopy}.
 * @throws UnsupportedValue if a `toJSON` returns a value that JSON cannot represent.
 */
export function decodedForm(value: unknown, path: string): unknown {
  if (typeof value === 'bigint') return isSmall(value) ? Number(value) : value
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Date) return wireTime(value)
  if (Array.isArray(value)) return value.map((item, index) => decodedForm(item, `${path}[${index}]`))
  if (hasToJson(value)) return decodedInstance(value, path)
  const fields: Record<string, unknown> = {}
  for (const [key, item] of Object.entries(value)) {
    if (item !== undefined) fields[key] = decodedForm(item, path === '' ? key : `${path}.${key}`)
  }
  return fields
}

/** True if decoding a copy made by {@link immutableCopy} results in equal data. Copies nothing. */
export function isDecodedForm(value: unknown): boolean {
  if (value === undefined) return false
  if (typeof value === 'bigint') return !isSmall(value)
  if (typeof value !== 'object' || value === null) return true
  if (Array.isArray(value)) return value.every(isDecodedForm)
  if (value instanceof Date || hasToJson(value)) return false
  for (const key in value) if (!isDecodedForm(Reflect.get(value, key))) return false
  return true
}

function decodedInstance(value: { toJSON(): unknown }, path: string): unknown {
  const json: unknown = value.toJSON()
  if (json === undefined) throw new UnsupportedValue(path, 'has a toJSON that returns undefined')
  const notes = { hasInstance: false }
  const copy = immutableCopy(json, path, notes)
  if (notes.hasInstance) {
    throw new UnsupportedValue(path, 'has a toJSON that returns an instance of a class; return plain data')
  }
  return decodedForm(copy, path)
}

/**
 * True if decoding `value` results in data equal to `input`, so that the schema returns the same for both. This
 * function runs for each new event, so it copies nothing.
 */
export function readsBackAs(value: unknown, input: unknown): boolean {
  if (typeof value === 'bigint') return value === input && !isSmall(value)
  if (typeof value !== 'object' || value === null) return value === input
  if (typeof input !== 'object' || input === null) return false
  if (Array.isArray(value)) {
    return (
      Array.isArray(input) &&
      input.length === value.length &&
      value.every((item, index) => readsBackAs(item, input[index]))
    )
  }
  if (value instanceof Date || hasToJson(value) || Array.isArray(input)) return false
  return hasEqualFields(value, input)
}

function hasEqualFields(value: object, input: object): boolean {
  for (const key in value) {
    if (!readsBackAs(Reflect.get(value, key), Reflect.get(input, key))) return false
  }
  // A schema may distinguish an undefined field, which JSON omits, from one that is absent.
  for (const key in input) if (!(key in value)) return false
  return true
}

/** Path of the first difference between two decoded forms; undefined if there is none. */
export function firstDifference(one: unknown, other: unknown, path = ''): string | undefined {
  if (typeof one !== 'object' || one === null || typeof other !== 'object' || other === null) {
    return Object.is(one, other) ? undefined : path
  }
  if (Array.isArray(one) !== Array.isArray(other)) return path
  const isArray = Array.isArray(one)
  for (const key of new Set([...Object.keys(one), ...Object.keys(other)])) {
    const at = isArray ? `${path}[${key}]` : path === '' ? key : `${path}.${key}`
    const difference = firstDifference(Reflect.get(one, key), Reflect.get(other, key), at)
    if (difference !== undefined) return difference
  }
  return undefined
}

/** The path of the first value that has another type after decoding; undefined if there is none. */
export function firstUnreadable(value: unknown, path: string): UnsupportedValue | undefined {
  if (typeof value === 'bigint') {
    return isSmall(value)
      ? new UnsupportedValue(path, 'is a bigint that becomes a number in JSON')
      : undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  if (value instanceof Date) return new UnsupportedValue(path, 'is a Date, which becomes text in JSON')
  if (hasToJson(value)) {
    return new UnsupportedValue(
      path,
      `is an instance of ${value.constructor.name}, which becomes plain data in JSON`,
    )
  }
  for (const [key, item] of Object.entries(value)) {
    const at = Array.isArray(value) ? `${path}[${key}]` : path === '' ? key : `${path}.${key}`
    const found = firstUnreadable(item, at)
    if (found !== undefined) return found
  }
  return undefined
}

/** JSON does not mark a bigint in this range, so it is decoded as a number. */
function isSmall(value: bigint): boolean {
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)
}
