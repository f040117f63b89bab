import { withoutSecrets } from './error-redaction.ts'
import { redact } from './redaction.ts'

/**
 * Base class of every eventspine error. Match on `code` or on the class, never on the text. `docs/errors.md` lists
 * every code with its cause and remedy.
 */
export abstract class EventspineError extends Error {
  /** Stable, machine-readable name of the failure. */
  abstract readonly code: string
  /** True if the same call may succeed later without a change. */
  readonly retryable: boolean = false

  /** Every message and every cause passes through here, so that secrets are removed from all texts. */
  constructor(message: string, options: ErrorOptions = {}) {
    super(redact(message), 'cause' in options ? { cause: cleanCause(options.cause) } : {})
  }

  override get name(): string {
    return this.constructor.name
  }
}

/** An option is unknown, out of range or contradicts another option. The message lists all faults. */
export class ConfigError extends EventspineError {
  static override readonly name = 'ConfigError'
  readonly code = 'CONFIG_INVALID'
  /** One phrase per fault, with the option, its rule and the value. */
  readonly faults: readonly string[]

  constructor(subject: string, faults: readonly string[]) {
    super(sentence(`${subject}: ${faults.join('; ')}`))
    this.faults = faults.map(redact)
  }
}

function cleanCause(cause: unknown): unknown {
  return cause instanceof Error ? withoutSecrets(cause) : cause
}

/** Converts a thrown value to an Error, because handlers may throw any value. */
export function toError(thrown: unknown): Error {
  return thrown instanceof Error
    ? thrown
    : new Error(`A value that is not an Error was thrown: ${describeValue(thrown)}.`)
}

/** Maximum length of the stack that {@link stackOf} returns, in characters. */
export const MAX_STACK = 4000
/** Maximum number of causes of an error whose stacks are read. */
const MAX_CAUSES = 5

/** The stack of an error and of its causes, without secrets. */
export function stackOf(error: Error): string {
  const stacks: string[] = []
  let one: unknown = error
  for (let depth = 0; depth <= MAX_CAUSES && one instanceof Error; depth += 1, one = one.cause) {
    stacks.push(String(one.stack ?? one))
  }
  return redact(stacks.join('\ncaused by ')).slice(0, MAX_STACK).toWellFormed()
}

/** Ends a text with a full stop if it ends with no mark. Used for messages that quote another text. */
export function sentence(text: string): string {
  return /[.?!]$/.test(text) ? text : `${text}.`
}

/** The text itself if it is short enough, otherwise its beginning. */
export function shorten(text: string, maxLength: number): string {
  return text.length <= maxLength ? text : `${text.slice(0, maxLength - 3).toWellFormed()}...`
}

/** Describes a value for a message. Never shows a whole object, and only the first 57 characters of a string. */
export function describeValue(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(shorten(value, 60))
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (typeof value === 'function') return value.name === '' ? 'a function' : `the function ${value.name}`
  if (typeof value === 'object' && value !== null) return describeObject(value)
  return typeof value === 'bigint' ? `${value}n` : String(value)
}

function describeObject(value: object): string {
  const name: unknown = Object.getPrototypeOf(value)?.constructor?.name
  return typeof name === 'string' && name !== 'Object' && name !== '' ? `an instance of ${name}` : 'an object'
}
