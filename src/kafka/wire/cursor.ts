import { isUtf8 } from 'node:buffer'

/** What a text shows where its bytes were no UTF-8. */
const REPLACEMENT = '\uFFFD'

/** The text in some bytes; undefined where it is no UTF-8. */
export function textOf(bytes: Buffer, start: number, end: number): string | undefined {
  const text = bytes.toString('utf8', start, end)
  return text.includes(REPLACEMENT) && !isUtf8(bytes.subarray(start, end)) ? undefined : text
}

/** Reads the numbers and byte strings of a record, of which each says how long it is. */
export class Cursor {
  readonly #bytes: Buffer
  /** Of the byte string that was passed last. */
  #start = 0
  position: number

  constructor(bytes: Buffer, position = 0) {
    this.#bytes = bytes
    this.position = position
  }

  get length(): number {
    return this.#bytes.length
  }

  varint(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.#next()
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return (value >>> 1) ^ -(value & 1)
    }
    throw new Error('a number in a record is too long')
  }

  /** A number of up to 64 bits; exact to 2^53, which is enough for times. */
  varlong(): number {
    let value = 0
    let scale = 1
    for (let index = 0; index < 10; index += 1) {
      const byte = this.#next()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2
      scale *= 128
    }
    throw new Error('a number in a record is too long')
  }

  bytes(): Buffer | null {
    const end = this.skip()
    return end === undefined ? null : this.#bytes.subarray(this.#start, end)
  }

  /** A text, without a copy of its bytes; undefined where it is null or no UTF-8. */
  text(): string | undefined {
    const end = this.skip()
    if (end === undefined) return undefined
    return textOf(this.#bytes, this.#start, end)
  }

  /** Passes a byte string. @returns where it ends; undefined for null */
  skip(): number | undefined {
    const length = this.varint()
    if (length < 0) return undefined
    this.#start = this.position
    const end = this.#start + length
    if (end > this.#bytes.length) throw new Error('a record is cut off')
    this.position = end
    return end
  }

  #next(): number {
    const byte = this.#bytes[this.position]
    if (byte === undefined) throw new Error('a record is cut off')
    this.position += 1
    return byte
  }
}
