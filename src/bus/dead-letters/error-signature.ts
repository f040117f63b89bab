/** Longest text of an error that takes part in a signature, in characters. */
const MAX_TEXT = 300
const QUOTES = '"\'`'
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
/** Line ends, control and formatting characters: a signature is one line that a person can type into a filter. */
const UNPRINTABLE = /[\s\p{Cc}\p{Cf}]+/gu
const WORD = /[\p{L}\p{N}_.:-]/u
const DIGIT = /\d/
const DIGITS = /\d+/g
const HEX = /^[0-9a-f]+$/i
/** Shorter words of the digits 0 to f may be words. */
const MIN_HEX = 8

/** What a signature is made of. */
export interface SignedError {
  readonly errorName: string | undefined
  readonly errorMessage: string | undefined
  readonly errorStack: string | undefined
}

/**
 * A text that is the same for all occurrences of one error: the name, the message with placeholders for numbers, ids and
 * quoted texts, and, if the stack is known, the first of the program's own functions in it. One line.
 */
export function errorSignature({ errorName, errorMessage, errorStack }: SignedError): string | undefined {
  if (errorName === undefined && errorMessage === undefined) return undefined
  const text = withPlaceholders((errorMessage ?? '').slice(0, MAX_TEXT))
  const frame = errorStack === undefined ? undefined : ownFrame(errorStack)
  const signature = `${(errorName ?? 'Error').slice(0, MAX_TEXT)}: ${text}${frame === undefined ? '' : ` (${frame})`}`
  return signature.replace(UNPRINTABLE, ' ').trim().toWellFormed()
}

function withPlaceholders(text: string): string {
  let result = ''
  let word = ''
  for (let at = 0; at < text.length; at += 1) {
    const character = text.charAt(at)
    // A quote within a word is an apostrophe.
    const end = QUOTES.includes(character) && word === '' ? text.indexOf(character, at + 1) : -1
    if (end > 0) {
      result += '<text>'
      at = end
    } else if (WORD.test(character)) word += character
    else {
      result += placeholderFor(word) + character
      word = ''
    }
  }
  return result + placeholderFor(word)
}

/** The word itself, unless it differs between occurrences of an error. */
function placeholderFor(word: string): string {
  if (UUID.test(word)) return '<id>'
  if (!DIGIT.test(word)) return word
  if (word.length >= MIN_HEX && HEX.test(word)) return '<hex>'
  return word.replace(DIGITS, '<n>')
}

/** The first frame that is neither of Node.js nor of a package: its function, file and line. */
function ownFrame(stack: string): string | undefined {
  for (const line of stack.split('\n')) {
    const frame = line.trim()
    if (!frame.startsWith('at ') || frame.includes('node:') || frame.includes('node_modules')) continue
    const [first = '', ...rest] = frame.slice('at '.length).split(' (')
    // at caller (file:///path/file.ts:31:7), or: at file:///path/file.ts:31:7
    const place = (rest.at(-1) ?? first).split('/').at(-1)?.split(':').slice(0, 2).join(':')
    return rest.length === 0 ? place : `${first}@${place}`
  }
  return undefined
}
