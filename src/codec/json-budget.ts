import { DecodeError } from './decode-error.ts'

/** Limits for the cost of decoding one message. */
export interface StructureLimits {
  /** Maximum nesting of objects and arrays. */
  readonly maxDepth: number
  /** Maximum number of values: objects, arrays, texts, numbers and literals. A number counts once per 16 characters. */
  readonly maxValues: number
  /** Maximum number of fields in all objects. A field counts once per 64 characters of its name. */
  readonly maxKeys: number
}

/** What was found in a text. */
export interface CountedText {
  /** Whether a number in it may be an integer that a double cannot represent; undefined if it was not counted. */
  readonly hasBigNumber: boolean | undefined
}

const QUOTE = 0x22
const COMMA = 0x2c
const MINUS = 0x2d
const ZERO = 0x30
const NINE = 0x39
const COLON = 0x3a
const BACKSLASH = 0x5c
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d

/** Python's limit for parsing integers, whose parsing time grows faster than their length. */
const MAX_DIGITS = 4300
/** Length of the shortest integer that a double may not represent. */
const EXACT_DIGITS = 16
/**
 * Number of characters of a text that are scanned one by one before `indexOf` searches for the quote, because most
 * texts are short.
 */
const STEPS = 32

/** Maximum number of objects and arrays in a text that is not counted. Code may then follow them recursively. */
const MAX_FLAT = 64

const NOT_COUNTED: CountedText = Object.freeze({ hasBigNumber: undefined })

/**
 * Counts the values and fields in the JSON texts of one message before they are parsed, in one pass over the characters.
 * JSON.parse and decoding cost up to several microseconds and a hundred bytes of memory per value. Most texts are too
 * short to exceed a limit and are not counted, because counting takes about as long as parsing.
 */
export class JsonBudget {
  readonly #limits: StructureLimits
  #values = 0
  #keys = 0
  /** The texts that were not counted. */
  #short = ''

  constructor(limits: StructureLimits) {
    this.#limits = limits
  }

  /**
   * Adds a JSON text. A text that is not valid JSON is counted in the same way.
   * @throws DecodeError
   */
  add(text: string): CountedText {
    if (this.#isWithin(text)) {
      this.#short = this.#short === '' ? text : `${this.#short},${text}`
      return NOT_COUNTED
    }
    if (this.#short !== '') {
      const earlier = this.#short
      this.#short = ''
      this.#count(earlier)
    }
    return this.#count(text)
  }

  /**
   * Counts a text that `add` did not count, because it has numbers whose length matters.
   * @throws DecodeError
   */
  recount(text: string): void {
    this.#count(text)
  }

  /** True if the text, with those before it, is too short to exceed a limit. */
  #isWithin(text: string): boolean {
    const { maxDepth, maxValues, maxKeys } = this.#limits
    if (this.#values > 0) return false
    // Each value and each field takes a character at least.
    const length = this.#short.length + 1 + text.length
    return length < maxValues && length < maxKeys && isFlat(text, Math.min(maxDepth, MAX_FLAT))
  }

  #count(text: string): CountedText {
    let depth = 0
    let hasBigNumber = false
    let textLength = 0
    this.#addValues(1)
    for (let at = 0; at < text.length; at += 1) {
      const code = text.charCodeAt(at)
      if (code === QUOTE) {
        const end = endOfText(text, at + 1)
        textLength = end - at
        at = end
      } else if (code === COMMA) this.#addValues(1)
      else if (code === COLON) this.#addKey(textLength)
      else if (code === OPEN_BRACE || code === OPEN_BRACKET) {
        depth += 1
        if (depth > this.#limits.maxDepth) throw tooDeep(this.#limits.maxDepth)
        this.#addValues(1)
      } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) depth -= 1
      else if ((code >= ZERO && code <= NINE) || code === MINUS) {
        const end = endOfNumber(text, at + 1)
        const length = end - at
        if (length > MAX_DIGITS) throw tooLong()
        if (length >= EXACT_DIGITS) {
          hasBigNumber = true
          this.#addValues(Math.floor(length / EXACT_DIGITS))
        }
        at = end - 1
      }
    }
    return { hasBigNumber }
  }

  #addValues(count: number): void {
    this.#values += count
    const { maxValues } = this.#limits
    if (this.#values <= maxValues) return
    throw new DecodeError('too_many_values', `The message has more than the ${maxValues} values allowed.`)
  }

  #addKey(length: number): void {
    this.#keys += 1 + Math.floor(length / 64)
    const { maxKeys } = this.#limits
    if (this.#keys <= maxKeys) return
    throw new DecodeError('too_many_keys', `The message has more than the ${maxKeys} fields allowed.`)
  }
}

/** True if the text has so few objects and arrays that they cannot be nested deeper. */
function isFlat(text: string, maxDepth: number): boolean {
  let left = maxDepth
  for (const open of ['{', '[']) {
    for (let at = text.indexOf(open); at >= 0; at = text.indexOf(open, at + 1)) {
      left -= 1
      if (left < 0) return false
    }
  }
  return true
}

function tooLong(): DecodeError {
  return new DecodeError('too_large', `The message has a number of more than ${MAX_DIGITS} digits.`)
}

function tooDeep(maxDepth: number): DecodeError {
  return new DecodeError('too_deep', `The message is nested deeper than the ${maxDepth} levels allowed.`)
}

/** The position of the quote that ends a text; the end of the JSON if there is none. */
function endOfText(json: string, start: number): number {
  for (let at = start; ; ) {
    for (const pause = at + STEPS; at < pause; ) {
      const code = json.charCodeAt(at)
      if (code === QUOTE || Number.isNaN(code)) return at
      at += code === BACKSLASH ? 2 : 1
    }
    const quote = json.indexOf('"', at)
    if (quote < 0) return json.length
    if (!isEscaped(json, at, quote)) return quote
    at = quote + 1
  }
}

/** True if an odd number of backslashes precedes the character. @param start - a position outside of an escape. */
function isEscaped(json: string, start: number, at: number): boolean {
  let first = at
  while (first > start && json.charCodeAt(first - 1) === BACKSLASH) first -= 1
  return (at - first) % 2 === 1
}

function endOfNumber(json: string, start: number): number {
  let end = start
  while (isInNumber(json.charCodeAt(end))) end += 1
  return end
}

/** Digits, signs, the point and the exponent. */
function isInNumber(code: number): boolean {
  return (
    (code >= ZERO && code <= NINE) ||
    code === 0x2b ||
    code === MINUS ||
    code === 0x2e ||
    (code | 0x20) === 0x65
  )
}
