/** Content that exceeds a limit. */
export class TooLargeError extends Error {
  override readonly name = 'TooLargeError'
}

/** The output of a decompression: it grows as content arrives, up to a limit. */
export class Output {
  readonly #limit: number
  #bytes: Buffer
  #length = 0

  /** @param expected - bytes to allocate at once. */
  constructor(expected: number, limit: number) {
    this.#limit = limit
    this.#bytes = Buffer.allocUnsafe(Math.min(expected, limit))
  }

  get length(): number {
    return this.#length
  }

  get written(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  append(source: Buffer, start: number, end: number): void {
    if (start < 0 || end > source.length) throw new Error('the compressed content is truncated')
    this.#reserve(end - start)
    source.copy(this.#bytes, this.#length, start, end)
    this.#length += end - start
  }

  /** Appends `length` bytes of the output itself, from `distance` bytes before its end. Both ranges may overlap. */
  repeat(distance: number, length: number): void {
    if (distance < 1 || distance > this.#length) throw new Error('the compressed content is damaged')
    this.#reserve(length)
    const from = this.#length - distance
    const end = this.#length + length
    if (length < 16) {
      for (let at = this.#length, source = from; at < end; at += 1, source += 1) {
        this.#bytes[at] = this.#bytes[source] ?? 0
      }
    } else {
      // Each round copies what the rounds before it have written.
      for (let at = this.#length; at < end; ) {
        const size = Math.min(at - from, end - at)
        this.#bytes.copyWithin(at, from, from + size)
        at += size
      }
    }
    this.#length = end
  }

  #reserve(count: number): void {
    const needed = this.#length + count
    if (needed > this.#limit) {
      throw new TooLargeError(`the decompressed content has more than ${this.#limit} bytes`)
    }
    if (needed <= this.#bytes.length) return
    const grown = Buffer.allocUnsafe(Math.min(this.#limit, Math.max(needed, this.#bytes.length * 2)))
    this.#bytes.copy(grown, 0, 0, this.#length)
    this.#bytes = grown
  }
}
