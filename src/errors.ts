/**
 * Base of every error that eventspine makes. Match on `code` or on the class, never on the text.
 * `docs/errors.md` lists every code with its cause and remedy.
 */
export abstract class EventspineError extends Error {
  /** Stable, machine-readable name of the failure. */
  abstract readonly code: string
  /** True where the same call may succeed later without a change. */
  readonly retryable: boolean = false

  override get name(): string {
    return this.constructor.name
  }
}

/** An option is unknown, out of range or contradicts another. All faults found are in the message. */
export class ConfigError extends EventspineError {
  readonly code = 'CONFIG_INVALID'
  /** One sentence per fault, each naming the option, the rule and the value. */
  readonly faults: readonly string[]

  constructor(subject: string, faults: readonly string[]) {
    super(`${subject}: ${faults.join('; ')}`)
    this.faults = faults
  }
}

/** What was thrown, as an Error: handlers may throw anything. */
export function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(`a non-error was thrown: ${describeValue(thrown)}`)
}

/** A short, safe text of a value for messages: never a whole object, never more than 60 characters. */
export function describeValue(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 57 ? `${value.slice(0, 57)}...` : value)
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (typeof value === 'function') return value.name === '' ? 'a function' : `the function ${value.name}`
  if (typeof value === 'object' && value !== null) return describeObject(value)
  return typeof value === 'bigint' ? `${value}n` : String(value)
}

function describeObject(value: object): string {
  const name: unknown = Object.getPrototypeOf(value)?.constructor?.name
  return typeof name === 'string' && name !== 'Object' && name !== '' ? `an instance of ${name}` : 'an object'
}
