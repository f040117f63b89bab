import { isUtf8 } from 'node:buffer'
import { DecodeError } from './decode-error.ts'

/** Limits for the body of a message. */
export interface BodyLimits {
  readonly maxBodyBytes: number
  readonly maxDepth: number
}

export const defaultBodyLimits: BodyLimits = { maxBodyBytes: 16 * 1024 * 1024, maxDepth: 64 }

/** A JSON object whose keys and depth have been checked. */
export type JsonObject = Readonly<Record<string, unknown>>

/**
 * Parses an untrusted body. Integers beyond 2^53 become `bigint`, so that no digit is lost.
 * @throws DecodeError
 */
export function parseJsonObject(body: string | Uint8Array, limits: BodyLimits): JsonObject {
  const text = readText(body, limits.maxBodyBytes)
  const value = parse(text)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new DecodeError('not_an_event', 'The message is not a JSON object.')
  }
  const { hasBigNumber } = checkStructure(value, limits.maxDepth)
  // It is neither null nor an array, and parsing it again with all digits does not change its structure.
  return (hasBigNumber ? parse(text, keepDigits) : value) as JsonObject
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

/** Size of a body in bytes. A character has at most three, so the bytes of a short text need not be counted. */
function sizeOf(body: string | Uint8Array, maxBodyBytes: number): number {
  if (typeof body !== 'string') return body.byteLength
  return body.length * 3 <= maxBodyBytes ? body.length : Buffer.byteLength(body)
}

/** Python's limit for parsing integers, whose parsing time grows faster than their length. */
const MAX_DIGITS = 4300

// Use a reviver only after checkStructure: V8 calls it recursively, so a deep structure would overflow the stack.
function parse(text: string, reviver?: typeof keepDigits): unknown {
  try {
    return JSON.parse(text, reviver)
  } catch (error) {
    if (error instanceof DecodeError) throw error
    throw new DecodeError('invalid_json', 'The message is not valid JSON.')
  }
}

/** A JSON reviver. Every supported Node.js passes the source text in the third argument. */
function keepDigits(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return value
  const source = context?.source
  if (source === undefined || !/^-?\d+$/.test(source)) return value
  if (source.length <= MAX_DIGITS) return BigInt(source)
  throw new DecodeError('too_large', `The message has an integer of more than ${MAX_DIGITS} digits.`)
}

interface Structure {
  /** True if a number may be an integer that a double cannot represent. */
  hasBigNumber: boolean
}

/** Checks keys and depth level by level. A recursion could overflow the stack, because the depth is untrusted. */
function checkStructure(root: object, maxDepth: number): Structure {
  const structure: Structure = { hasBigNumber: false }
  let level: object[] = [root]
  for (let depth = 1; level.length > 0; depth += 1) {
    if (depth > maxDepth) {
      throw new DecodeError('too_deep', `The message is nested deeper than the ${maxDepth} levels allowed.`)
    }
    const next: object[] = []
    for (const node of level) collectChildren(node, next, structure)
    level = next
  }
  return structure
}

function collectChildren(node: object, children: object[], structure: Structure): void {
  if (Array.isArray(node)) {
    for (const item of node) collect(item, children, structure)
    return
  }
  for (const key in node) {
    if (key === '__proto__')
      throw new DecodeError('forbidden_key', 'The message has a field named "__proto__".')
    collect(Reflect.get(node, key), children, structure)
  }
}

function collect(item: unknown, children: object[], structure: Structure): void {
  if (typeof item === 'object') {
    if (item !== null) children.push(item)
  } else if (typeof item === 'number' && Math.abs(item) > Number.MAX_SAFE_INTEGER)
    structure.hasBigNumber = true
}
