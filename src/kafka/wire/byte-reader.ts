import { isUtf8 } from 'node:buffer'

/** Decoding puts this character in the place of bytes that are not UTF-8. */
const REPLACEMENT = '\uFFFD'

/** Decodes a range of bytes; undefined if it is not UTF-8. */
export function textOf(bytes: Buffer, start: number, end: number): string | undefined {
  const text = bytes.toString('utf8', start, end)
  return text.includes(REPLACEMENT) && !isUtf8(bytes.subarray(start, end)) ? undefined : text
}

/** Reads the variable-length numbers and length-prefixed byte strings of a record, one after the other. */
export class ByteReader {
  readonly #bytes: Buffer
  /** Start of the byte string that was skipped last. */
  start = 0
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

  /** A number of up to 64 bits. Exact up to 2^53, which suffices for timestamps. */
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
    return end === undefined ? null : this.#bytes.subarray(this.start, end)
  }

  /** A text; undefined if it is null or not UTF-8. Its bytes are not copied. */
  text(): string | undefined {
    const end = this.skip()
    if (end === undefined) return undefined
    return textOf(this.#bytes, this.start, end)
  }

  /** Skips a byte string. @returns its end; undefined for null. */
  skip(): number | undefined {
    const length = this.varint()
    if (length < 0) return undefined
    this.start = this.position
    const end = this.start + length
    if (end > this.#bytes.length) throw new Error('a record is truncated')
    this.position = end
    return end
  }

  #next(): number {
    const byte = this.#bytes[this.position]
    if (byte === undefined) throw new Error('a record is truncated')
    this.position += 1
    return byte
  }
}
