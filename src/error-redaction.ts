import { redact } from './redaction.ts'

/** Arrays and plain objects in the fields of an error are read to this depth. */
const MAX_DEPTH = 3
/** Causes of causes are read to this depth. */
const MAX_ERROR_DEPTH = 50
/** Values that are read of one error, with all errors in it: a failed publish lists each of its events. */
const MAX_VALUES = 10_000

/** The copies of errors that had a secret. Each error has at most one, so that copies can be compared like errors. */
const copies = new WeakMap<Error, Error>()

/**
 * The error itself if its texts, its fields and its causes have no secret, otherwise a copy without secrets. The copy is
 * an instance of the same class and has the same fields, because callers recognize an error by them. It lacks objects of
 * other classes: a client or a connection holds its password.
 */
export function withoutSecrets(error: Error): Error {
  try {
    return new Cleaning().clean(error)
  } catch {
    return new Error('An error that cannot be read, or has a cause that cannot be read.')
  }
}

/** One call of {@link withoutSecrets}. */
class Cleaning {
  /** The errors read so far, each with what stands for it; undefined while it is being read. */
  readonly #results = new Map<Error, Error | undefined>()
  #errorDepth = 0
  #values = 0

  clean(error: Error): Error {
    if (this.#results.has(error)) {
      // An error that is being read contains itself, by a cause of its cause.
      const result = this.#results.get(error) ?? copyOf(error)
      this.#results.set(error, result)
      return result
    }
    this.#results.set(error, undefined)
    const fields = fieldsOf(error).map((field) => ({ ...field, clean: this.#cleanValue(field.value, 0) }))
    const hasSecret = fields.some(({ value, clean }) => clean !== value)
    const result = hasSecret || this.#results.get(error) !== undefined ? copyOf(error) : error
    this.#results.set(error, result)
    if (result === error) return error
    for (const { name, clean: value, enumerable } of fields) {
      Object.defineProperty(result, name, {
        value: shown(value),
        enumerable,
        writable: true,
        configurable: true,
      })
    }
    return result
  }

  /** @returns the value itself if it has no secret. */
  #cleanValue(value: unknown, depth: number): unknown {
    this.#values += 1
    if (this.#values > MAX_VALUES) return value
    if (typeof value === 'string') return redact(value)
    if (value instanceof Error) return this.#cleanInner(value)
    if (typeof value !== 'object' || value === null || depth === MAX_DEPTH) return value
    if (Array.isArray(value)) return this.#cleanArray(value, depth)
    return isPlain(value) ? this.#cleanObject(value, depth) : value
  }

  #cleanInner(error: Error): Error | undefined {
    // A deeper cause is left out, because it is not read.
    if (this.#errorDepth === MAX_ERROR_DEPTH) return undefined
    this.#errorDepth += 1
    const clean = this.clean(error)
    this.#errorDepth -= 1
    return clean
  }

  #cleanArray(items: readonly unknown[], depth: number): readonly unknown[] {
    const clean = items.map((item) => this.#cleanValue(item, depth + 1))
    return clean.every((item, index) => item === items[index]) ? items : clean
  }

  #cleanObject(object: object, depth: number): object {
    const entries = Object.entries(object)
    const clean = entries.map(([name, value]) => [name, this.#cleanValue(value, depth + 1)] as const)
    return clean.every(([, value], index) => value === entries[index]?.[1])
      ? object
      : Object.fromEntries(clean)
  }
}

interface Field {
  readonly name: string
  readonly value: unknown
  readonly enumerable: boolean
}

/** The error's own fields, with its texts, which can also be those of its class. */
function fieldsOf(error: Error): readonly Field[] {
  const { name, message, stack = '' } = error
  const texts = [
    { name: 'message', value: message, enumerable: false },
    { name: 'stack', value: stack, enumerable: false },
    { name: 'name', value: name, enumerable: false },
  ]
  const own = Object.entries(Object.getOwnPropertyDescriptors(error))
    .filter(([field]) => !texts.some((text) => text.name === field))
    .map(([field, { value, enumerable = false }]) => ({ name: field, value, enumerable }))
  return [...texts, ...own]
}

function copyOf(error: Error): Error {
  const known = copies.get(error)
  if (known !== undefined) return known
  const copy = new Error()
  Object.setPrototypeOf(copy, Object.getPrototypeOf(error))
  copies.set(error, copy)
  return copy
}

/** What a copy shows of a field: nothing of an object that may hold a connection. */
function shown(value: unknown): unknown {
  if (typeof value === 'function') return undefined
  if (typeof value !== 'object' || value === null) return value
  return Array.isArray(value) || isPlain(value) || value instanceof Error ? value : undefined
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
