import { inspect, types } from 'node:util'

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

/** The first time whose year has more than four digits, in milliseconds since 1970. */
const YEAR_10000 = 253_402_300_800_000

/** The second that was formatted last, up to its point. */
let formatted = { second: Number.NaN, text: '' }

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

  static {
    // Date libraries copy a date with `new date.constructor(date)` and change the copy.
    Object.defineProperty(ImmutableDate.prototype, 'constructor', { value: Date })
  }

  /** Formats only once, because the time of an event is written to both its body and its headers. */
  override toISOString(): string {
    this.#iso ??= this.#format()
    return this.#iso
  }

  /** Events in a row often have the same second. */
  #format(): string {
    const time = this.getTime()
    if (!(time >= 0 && time < YEAR_10000)) return super.toISOString()
    const ms = time % 1000
    if (time - ms !== formatted.second)
      formatted = { second: time - ms, text: super.toISOString().slice(0, 20) }
    return `${formatted.text}${ms < 10 ? '00' : ms < 100 ? '0' : ''}${ms}Z`
  }

  [inspect.custom](): string {
    return Number.isNaN(this.getTime()) ? 'Invalid Date' : this.toISOString()
  }
}

/** What {@link immutableCopy} found in the data. */
export interface CopyNotes {
  /** True if the data contains an instance of a class, which is not copied. */
  hasInstance: boolean
}

/**
 * A deeply frozen copy of JSON-like data. Plain objects, arrays and dates are copied, including those of another realm
 * (for example a `vm` context); the caller's objects do not change. An instance of another class is kept as it is if it
 * has a `toJSON` method.
 *
 * @throws UnsupportedValue with the path of the first value that JSON cannot represent: a function, a symbol, a number that
 * is not finite, `undefined` in an array, binary data, an instance without `toJSON`.
 */
export function immutableCopy(
  value: unknown,
  path: string,
  notes: CopyNotes = { hasInstance: false },
  depth = 0,
): unknown {
  if (typeof value === 'string' || typeof value === 'boolean' || value === null || value === undefined) {
    return value
  }
  if (typeof value === 'number') {
    // JSON has no negative zero.
    if (Number.isFinite(value)) return value === 0 ? 0 : value
    throw new UnsupportedValue(path, `must be a finite number, got ${value}`)
  }
  if (typeof value === 'bigint') return value
  if (typeof value !== 'object') throw new UnsupportedValue(path, `must not be a ${typeof value}`)
  if (depth >= MAX_DEPTH)
    throw new UnsupportedValue(path, `is nested deeper than ${MAX_DEPTH} levels or circular`)
  return Array.isArray(value) ? copyArray(value, path, notes, depth) : copyObject(value, path, notes, depth)
}

function copyArray(value: readonly unknown[], path: string, notes: CopyNotes, depth: number): unknown {
  const copy: unknown[] = []
  for (let index = 0; index < value.length; index += 1) {
    const item = value[index]
    if (item === undefined) {
      throw new UnsupportedValue(
        `${path}[${index}]`,
        'must not be undefined, which JSON turns into null; use null',
      )
    }
    copy.push(immutableCopy(item, `${path}[${index}]`, notes, depth + 1))
  }
  return Object.freeze(copy)
}

function copyDate(value: Date, path: string): Date {
  if (Number.isNaN(value.getTime())) throw new UnsupportedValue(path, 'must be a valid Date')
  return new ImmutableDate(value)
}

function copyObject(value: object, path: string, notes: CopyNotes, depth: number): unknown {
  if (types.isDate(value)) return copyDate(value, path)
  if (ArrayBuffer.isView(value))
    throw new UnsupportedValue(path, 'is binary; encode it as text, base64 for instance')
  if (!isPlainObject(value)) {
    if (hasToJson(value)) {
      notes.hasInstance = true
      return value
    }
    throw new UnsupportedValue(
      path,
      `is an instance of ${value.constructor?.name ?? 'a class'}, which JSON cannot represent; use plain objects and arrays`,
    )
  }
  const copy: Record<string, unknown> = {}
  for (const [key, item] of Object.entries(value)) {
    if (key === '__proto__') throw new UnsupportedValue(`${path}.${key}`, 'is not an allowed name')
    // JSON omits an undefined field.
    if (item !== undefined) copy[key] = immutableCopy(item, `${path}.${key}`, notes, depth + 1)
  }
  return Object.freeze(copy)
}

/** True for an object literal of this or another realm (`vm`, jest), and for an object without a prototype. */
export function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === Object.prototype || prototype === null) return true
  // The Object.prototype of another realm also ends its chain, and its constructor has this name.
  if (typeof prototype !== 'object' || Object.getPrototypeOf(prototype) !== null) return false
  return prototype.constructor?.name === 'Object'
}

/** True if JSON.stringify would call the `toJSON` of the value. */
export function hasToJson(value: object): value is { toJSON(): unknown } {
  return 'toJSON' in value && typeof value.toJSON === 'function'
}
