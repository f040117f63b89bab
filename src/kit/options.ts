import { ConfigError, describeValue } from '../errors.ts'
import { rememberCredentials, rememberSecret } from '../redaction.ts'
import { nearest } from './spelling.ts'

/** The values that an option may have. */
export interface OptionRule {
  /** Completes the sentence "X must be ...". */
  readonly rule: string
  readonly isValid: (value: unknown) => boolean
  /** Explains an invalid value in a sentence that follows the fault. */
  readonly explain?: (value: unknown) => string | undefined
  /** Never show the value in any text. */
  readonly isSecret?: boolean
  /** The value may contain credentials, for example in a URL. Never show the value or its credentials in any text. */
  readonly hasCredentials?: boolean
}

const isInteger = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value)

export const positiveInteger: OptionRule = {
  rule: 'a positive integer',
  isValid: (value) => isInteger(value) && value >= 1,
}

export const positiveNumber: OptionRule = {
  rule: 'a positive number',
  isValid: (value) => typeof value === 'number' && Number.isFinite(value) && value > 0,
}

export const nonNegativeInteger: OptionRule = {
  rule: 'an integer of at least 0',
  isValid: (value) => isInteger(value) && value >= 0,
}

export const nonNegativeIntegerOrInfinity: OptionRule = {
  rule: 'an integer of at least 0, or Infinity for no limit',
  isValid: (value) => value === Number.POSITIVE_INFINITY || nonNegativeInteger.isValid(value),
}

/** The longest delay that a timer of Node.js supports. */
const MAX_TIMER_MS = 2 ** 31 - 1

export const durationMs: OptionRule = {
  rule: `a positive integer of milliseconds (at most ${MAX_TIMER_MS})`,
  isValid: (value) => isInteger(value) && value >= 1 && value <= MAX_TIMER_MS,
}

export const delayMs: OptionRule = {
  rule: `an integer of milliseconds from 0 to ${MAX_TIMER_MS}`,
  isValid: (value) => isInteger(value) && value >= 0 && value <= MAX_TIMER_MS,
}

export const durationMsOrInfinity: OptionRule = {
  rule: `${durationMs.rule}, or Infinity for no limit`,
  isValid: (value) => value === Number.POSITIVE_INFINITY || durationMs.isValid(value),
}

export const positiveIntegerOrInfinity: OptionRule = {
  rule: 'a positive integer, or Infinity for no limit',
  isValid: (value) => value === Number.POSITIVE_INFINITY || positiveInteger.isValid(value),
}

export const fraction: OptionRule = {
  rule: 'a number from 0 to 1',
  isValid: (value) => typeof value === 'number' && value >= 0 && value <= 1,
}

export const booleanOption: OptionRule = {
  rule: 'true or false',
  isValid: (value) => typeof value === 'boolean',
}

export const nonEmptyText: OptionRule = {
  rule: 'a non-empty string',
  isValid: (value) => typeof value === 'string' && value !== '',
}

export const functionOption: OptionRule = {
  rule: 'a function',
  isValid: (value) => typeof value === 'function',
}

/** Delays in milliseconds, at least one. */
export const delaysMs: OptionRule = {
  rule: `a non-empty array; each delay must be ${delayMs.rule}`,
  isValid: (value) =>
    Array.isArray(value) && value.length > 0 && value.every((item) => delayMs.isValid(item)),
}

/** The path of a PEM file. The text of a PEM file is refused and never shown, because it may be a private key. */
export const pemPath: OptionRule = {
  rule: 'the path of a PEM file, not its text',
  isValid: (value) => nonEmptyText.isValid(value) && !String(value).includes('-----BEGIN'),
}

/** A rule that also accepts an absent option. */
export function optional(rule: OptionRule): OptionRule {
  return { ...rule, isValid: (value) => value === undefined || rule.isValid(value) }
}

export function oneOf(...values: readonly string[]): OptionRule {
  return {
    rule: `one of ${values.map((value) => `'${value}'`).join(', ')}`,
    isValid: (value) => typeof value === 'string' && values.includes(value),
  }
}

/** A rule for an object that has these methods, such as a logger. */
export function objectWith(rule: string, ...methods: readonly string[]): OptionRule {
  const isValid = (value: unknown) =>
    typeof value === 'object' &&
    value !== null &&
    methods.every((method) => typeof Reflect.get(value, method) === 'function')
  const explain = (value: unknown) => {
    const part = Object.entries(Object(value)).find(([, it]) => isValid(it))?.[0]
    return part === undefined ? undefined : `Pass its property ${part}`
  }
  return { rule, isValid, explain }
}

/**
 * Checks the options of a class and applies the defaults. All faults are reported together.
 *
 * @param subject - name of the class, for the message.
 * @param given - the options that the user passed; undefined and null count as absent, also as values of options.
 * @param defaults - a value for every option; undefined for an option that may be absent by its rule, or is required.
 * @returns the complete options, frozen.
 * @throws ConfigError
 */
export function resolveOptions<T extends object>(
  subject: string,
  given: unknown,
  defaults: T,
  rules: Readonly<Record<keyof T & string, OptionRule>>,
): Readonly<T> {
  if (given !== undefined && typeof given !== 'object') {
    throw new ConfigError(subject, [`the options must be an object, got ${describeValue(given)}`])
  }
  const known: Readonly<Record<string, OptionRule>> = rules
  const faults: string[] = []
  const set: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(given ?? {})) {
    const rule = Object.hasOwn(known, name) ? known[name] : undefined
    if (rule?.isSecret === true) rememberSecret(value)
    else if (rule?.hasCredentials === true || rule?.isValid(value) !== true) rememberCredentials(value)
    if (rule === undefined) faults.push(`${name} is not an option${suggestion(name, Object.keys(known))}`)
    else if (value === undefined || value === null) continue
    else if (!rule.isValid(value)) {
      const isHidden = rule.isSecret === true || rule.hasCredentials === true
      const got = isHidden ? 'another value' : describeValue(value)
      const explanation = rule.explain?.(value)
      faults.push(
        `${name} must be ${rule.rule}, got ${got}${explanation === undefined ? '' : `. ${explanation}`}`,
      )
    } else set[name] = value
  }
  for (const [name, rule] of Object.entries(known)) {
    const isAbsent =
      Reflect.get(defaults, name) === undefined && (Reflect.get(given ?? {}, name) ?? undefined) === undefined
    if (isAbsent && !rule.isValid(undefined)) faults.push(`${name} is required: ${rule.rule}`)
  }
  if (faults.length > 0) throw new ConfigError(subject, faults)
  return Object.freeze({ ...defaults, ...set })
}

/**
 * Checks the options of a call that is frequent and has no defaults here.
 *
 * @param rules - each must accept an absent option, unless the option is required.
 * @returns the options, without those that are null.
 * @throws ConfigError
 */
export function checkedOptions<T extends object>(
  subject: string,
  given: T,
  rules: Readonly<Record<string, OptionRule>>,
): T {
  const isObject = typeof given === 'object' && given !== null
  const isCorrect =
    isObject &&
    Object.keys(given).every((name) => Object.hasOwn(rules, name)) &&
    Object.entries(rules).every(([name, rule]) => rule.isValid(Reflect.get(given, name)))
  if (isCorrect) return given
  const defaults = Object.fromEntries(Object.keys(rules).map((name) => [name, undefined]))
  const resolved: object = resolveOptions(subject, given, defaults, rules)
  // It has the correct options of `given`, and no others.
  return resolved as T
}

/** Completes a sentence that says that a name is unknown: with the nearest known name, or with all of them. */
export function suggestion(name: string, known: readonly string[]): string {
  const near = nearest(name, known)
  return near === undefined ? ` (there are: ${known.join(', ')})` : `; did you mean ${near}?`
}
