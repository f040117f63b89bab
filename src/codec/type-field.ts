/** Begins an escape that can spell any character, also those of a field's name. */
const UNICODE_ESCAPE = '\\u'

/**
 * Whether a JSON text can only be an object whose field is this text, or has no such field at all. Parses nothing: a
 * few searches of the bytes, so a message that is not of interest costs little. False if the text would have to be parsed
 * to know: it has escapes that can spell the name of the field, or the name elsewhere.
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

/** Where the value of a field begins, after the colon and the white space around it. */
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

/** Bytes of UTF-8 as a text to search. */
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
