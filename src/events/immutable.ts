import { inspect } from 'node:util'

/** Maximum nesting of a payload or of metadata. Deeper or circular data is refused. */
export const MAX_DEPTH = 64

/** A value cannot be part of an event. */
export class UnsupportedValue extends Error {
  readonly path: string
  readonly rule: string

  constructor(path: string, rule: string) {
    super(`${path} ${rule}`)
    this.path = path
    this.rule = rule
  }
}

const DATE_SETTERS = [
  'setTime',
  'setMilliseconds',
  'setUTCMilliseconds',
  'setSeconds',
  'setUTCSeconds',
  'setMinutes',
  'setUTCMinutes',
  'setHours',
  'setUTCHours',
  'setDate',
  'setUTCDate',
  'setMonth',
  'setUTCMonth',
  'setFullYear',
  'setUTCFullYear',
  'setYear',
] as const

/** A Date whose setters throw, because freezing an ordinary Date does not prevent `setTime`. */
export class ImmutableDate extends Date {
  #iso: string | undefined

  static {
    for (const setter of DATE_SETTERS) {
      Object.defineProperty(ImmutableDate.prototype, setter, {
        value: () => {
          throw new TypeError(`${setter}: the dates of an event are immutable; create a new Date from it.`)
        },
      })
    }
  }

  /** Formats only once, because the time of an event is written to both its body and its headers. */
  override toISOString(): string {
    this.#iso ??= super.toISOString()
    return this.#iso
  }

  [inspect.custom](): string {
    return Number.isNaN(this.getTime()) ? 'Invalid Date' : this.toISOString()
  }
}

/**
 * A deeply frozen copy of JSON-like data. Plain objects, arrays and dates are copied; the caller's objects do not change.
 * Instances of other classes are used as they are if they have a `toJSON` method. Other instances, functions, symbols and
 * numbers that JSON cannot represent are refused.
 *
 * @throws UnsupportedValue with the path of the first unsupported value.
 */
export function immutableCopy(value: unknown, path: string, depth = 0): unknown {
  if (typeof value === 'string' || typeof value === 'boolean' || value === null || value === undefined) {
    return value
  }
  if (typeof value === 'number') {
    if (Number.isFinite(value)) return value
    throw new UnsupportedValue(path, `must be a finite number, got ${value}`)
  }
  if (typeof value === 'bigint') return value
  if (typeof value !== 'object') throw new UnsupportedValue(path, `must not be a ${typeof value}`)
  if (depth >= MAX_DEPTH)
    throw new UnsupportedValue(path, `is nested deeper than ${MAX_DEPTH} levels or circular`)
  if (Array.isArray(value)) {
    return Object.freeze(
      value.map((item: unknown, index) => immutableCopy(item, `${path}[${index}]`, depth + 1)),
    )
  }
  return copyObject(value, path, depth)
}

function copyDate(value: Date, path: string): Date {
  if (Number.isNaN(value.getTime())) throw new UnsupportedValue(path, 'must be a valid Date')
  return new ImmutableDate(value)
}

function copyObject(value: object, path: string, depth: number): unknown {
  if (value instanceof Date) return copyDate(value, path)
  if (ArrayBuffer.isView(value))
    throw new UnsupportedValue(path, 'is binary; encode it as text, base64 for instance')
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) {
    if ('toJSON' in value && typeof value.toJSON === 'function') return value
    throw new UnsupportedValue(
      path,
      `is an instance of ${value.constructor?.name ?? 'a class'}, which JSON cannot hold; use plain objects and arrays`,
    )
  }
  const copy: Record<string, unknown> = {}
  for (const [key, item] of Object.entries(value)) {
    if (key === '__proto__') throw new UnsupportedValue(`${path}.${key}`, 'is not an allowed name')
    copy[key] = immutableCopy(item, `${path}.${key}`, depth + 1)
  }
  return Object.freeze(copy)
}
