import { isUtf8 } from 'node:buffer'
import { ConfigError, describeValue } from '../errors.ts'
import { DecodeError } from './decode-error.ts'
import { JsonBudget, type StructureLimits } from './json-budget.ts'

/** Limits for the body of a message. `Infinity` means no limit. */
export interface BodyLimits extends StructureLimits {
  /** Maximum size of a body, in bytes. */
  readonly maxBodyBytes: number
}

/** With these limits, decoding any message blocks the event loop for less than about 50 ms. */
export const defaultBodyLimits: BodyLimits = {
  maxBodyBytes: 16 * 1024 * 1024,
  maxDepth: 64,
  maxValues: 30_000,
  maxKeys: 10_000,
}

/** The limits of a codec, with defaults applied. @throws ConfigError */
export function resolveBodyLimits(
  codec: string,
  given: Partial<BodyLimits>,
  ownOptions: readonly string[],
): BodyLimits {
  const known = [...ownOptions, ...Object.keys(defaultBodyLimits)]
  const faults = Object.keys(given)
    .filter((name) => !known.includes(name))
    .map((name) => `${name} is not an option (there are: ${known.join(', ')})`)
  const limits: Record<keyof BodyLimits, number> = { ...defaultBodyLimits }
  // The object has exactly these keys.
  for (const name of Object.keys(defaultBodyLimits) as (keyof BodyLimits)[]) {
    const limit = given[name] ?? undefined // a program without types may pass null
    if (limit === undefined) continue
    if ((Number.isSafeInteger(limit) && limit > 0) || limit === Number.POSITIVE_INFINITY) limits[name] = limit
    else faults.push(`${name} must be a positive integer or Infinity, got ${describeValue(limit)}`)
  }
  if (faults.length > 0) throw new ConfigError(codec, faults)
  return limits
}

/** A JSON object whose keys and depth have been checked. */
export type JsonObject = Readonly<Record<string, unknown>>

/** Parses the JSON texts of one message. All of them together must stay within the limits. */
export class HostileJson {
  readonly #limits: BodyLimits
  readonly #budget: JsonBudget

  constructor(limits: BodyLimits) {
    this.#limits = limits
    this.#budget = new JsonBudget(limits)
  }

  /**
   * Parses an untrusted text. Integers beyond 2^53 become `bigint`, so that no digit is lost.
   * @throws DecodeError
   */
  object(body: string | Uint8Array): JsonObject {
    const text = readText(body, this.#limits.maxBodyBytes)
    const { hasBigNumber } = this.#budget.add(text)
    const value = parse(text)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new DecodeError('not_an_event', 'The message is not a JSON object.')
    }
    if (mayHavePrototypeKey(text)) checkKeys(value)
    if (!(hasBigNumber ?? hasBigInteger(value))) return value as JsonObject // neither null nor an array
    // Parsing a long integer takes time that grows faster than its length.
    if (hasBigNumber === undefined) this.#budget.recount(text)
    // Parsing it again with all digits does not change its structure.
    return parse(text, keepDigits) as JsonObject
  }
}

/** Checks JSON texts of one message against the limits, without parsing them. @throws DecodeError */
export function checkBody(texts: readonly (string | Uint8Array)[], limits: BodyLimits): void {
  const budget = new JsonBudget(limits)
  for (const text of texts) budget.add(readText(text, limits.maxBodyBytes))
}

function readText(body: string | Uint8Array, maxBodyBytes: number): string {
  const size = sizeOf(body, maxBodyBytes)
  if (size > maxBodyBytes) {
    throw new DecodeError(
      'too_large',
      `The message has ${size} bytes, more than the ${maxBodyBytes} allowed.`,
    )
  }
  if (typeof body === 'string') return body
  if (!isUtf8(body)) throw new DecodeError('invalid_utf8', 'The message is not valid UTF-8.')
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')
}

/** Size of a body in bytes. A character has from one to three, so most texts need not be counted. */
function sizeOf(body: string | Uint8Array, maxBodyBytes: number): number {
  if (typeof body !== 'string') return body.byteLength
  const isDecided = body.length * 3 <= maxBodyBytes || body.length > maxBodyBytes
  return isDecided ? body.length : Buffer.byteLength(body)
}

// Use a reviver only for a text within the depth: V8 calls it recursively, so a deep structure would overflow the stack.
function parse(text: string, reviver?: typeof keepDigits): unknown {
  try {
    return JSON.parse(text, reviver)
  } catch {
    throw new DecodeError('invalid_json', 'The message is not valid JSON.')
  }
}

/** A JSON reviver. Every supported Node.js passes the source text in the third argument. */
function keepDigits(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return value
  const source = context?.source
  return source === undefined || !/^-?\d+$/.test(source) ? value : BigInt(source)
}

/** True if a double may not represent an integer in the value, whose depth is within the limit. */
function hasBigInteger(value: object): boolean {
  // The value was parsed from JSON, so its keys are its own.
  for (const key in value) {
    const item: unknown = value[key as keyof typeof value]
    if (typeof item === 'number' ? isBigInteger(item) : isNode(item) && hasBigInteger(item)) return true
  }
  return false
}

function isNode(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function isBigInteger(value: number): boolean {
  return !Number.isSafeInteger(value) && (Number.isInteger(value) || !Number.isFinite(value))
}

/**
 * False if no name in the text can be `__proto__`, which is nearly always the case. Escapes can also spell this name.
 */
function mayHavePrototypeKey(text: string): boolean {
  return text.includes('__proto__') || text.includes('\\u')
}

/** Checks the keys level by level. */
function checkKeys(root: object): void {
  let level: object[] = [root]
  while (level.length > 0) {
    const next: object[] = []
    for (const node of level) collectChildren(node, next)
    level = next
  }
}

function collectChildren(node: object, children: object[]): void {
  const isArray = Array.isArray(node)
  for (const [key, item] of Object.entries(node)) {
    if (!isArray && key === '__proto__')
      throw new DecodeError('forbidden_key', 'The message has a field named "__proto__".')
    if (typeof item === 'object' && item !== null) children.push(item)
  }
}
