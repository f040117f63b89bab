/** The start of an escape sequence that can represent any character, including those of a field name. */
const UNICODE_ESCAPE = '\\u'

/**
 * True if a JSON text can only be an object whose field has this value, or that lacks the field. It searches the bytes
 * without parsing them, so that an irrelevant message costs little. False if only parsing can decide: the text has
 * escape sequences that could represent the name of the field, or contains the name elsewhere.
 */
export function canOnlyHave(json: string | Uint8Array, field: string, value: string): boolean {
  const text = typeof json === 'string' ? json : new Bytes(json)
  if (text.indexOf(UNICODE_ESCAPE, 0) >= 0) return false
  const name = JSON.stringify(field)
  const expected = JSON.stringify(value)
  for (let at = text.indexOf(name, 0); at >= 0; at = text.indexOf(name, at + name.length)) {
    const start = valueAfter(text, at + name.length)
    if (!text.startsWith(expected, start)) return false
  }
  return true
}

interface Text {
  indexOf(text: string, from: number): number
  startsWith(text: string, at: number): boolean
  charCodeAt(at: number): number
}

const COLON = 0x3a

/** The start of a field's value, after the colon and the white space around it. */
function valueAfter(text: Text, end: number): number {
  const colon = afterSpace(text, end)
  return text.charCodeAt(colon) === COLON ? afterSpace(text, colon + 1) : colon
}

function afterSpace(text: Text, from: number): number {
  let at = from
  // Tab, line feed, carriage return and space.
  for (
    let code = text.charCodeAt(at);
    code === 0x20 || (code >= 0x09 && code <= 0x0d);
    code = text.charCodeAt(at)
  ) {
    at += 1
  }
  return at
}

/** UTF-8 bytes as a text that can be searched. */
class Bytes implements Text {
  readonly #bytes: Buffer

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  indexOf(text: string, from: number): number {
    return this.#bytes.indexOf(text, from)
  }

  startsWith(text: string, at: number): boolean {
    const bytes = Buffer.from(text)
    return this.#bytes.subarray(at, at + bytes.length).equals(bytes)
  }

  charCodeAt(at: number): number {
    return this.#bytes[at] ?? Number.NaN
  }
}
