import type { EventEmitter } from 'node:events'
import { toError } from '../../errors.ts'
import type { RedisClient } from './client.ts'

/** Limits for a reply. */
export interface ReplyLimits {
  /** Largest string that is passed on. A larger one becomes null. */
  readonly maxStringBytes: number
  /** Bytes of a reply from which further strings become null. */
  readonly maxReplyBytes: number
}

/** Largest bulk string that a Redis server sends by default (`proto-max-bulk-len`). */
const MAX_BULK_BYTES = 512 * 1024 * 1024
/** Longest string that never becomes null: ids, counts and names, without which a reply cannot be read. */
const SHORT_BYTES = 64
/** Most elements of all arrays of a reply. The client allocates an array before its elements arrive. */
const MAX_ELEMENTS = 4_000_000
/** Maximum bytes of a reply on the network, including the strings that become null, so that every reply ends. */
const MAX_TOTAL_BYTES = 64 * 1024 * 1024 * 1024
/** Longest line: a status, an error, a number or a length. */
const MAX_LINE_BYTES = 1024 * 1024
/** Longest line that announces a string. */
const MAX_HEADER_BYTES = 64

const ZERO = 0x30
const NINE = 0x39
/** Most digits of a length that is read without making a text of its line. */
const PLAIN_DIGITS = 9
const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d
const BULK = 0x24
const ARRAY = 0x2a
/** A null string, without the line feed. */
const NULL = Buffer.of(BULK, 0x2d, 0x31, CARRIAGE_RETURN)

/** A reply that no Redis server sends, or that is too large. */
class ReplyError extends Error {}

/**
 * Follows the framing of RESP 2 through the chunks of a connection, and passes them on. A string beyond the limits is
 * discarded while it arrives, and null is passed on instead, because the client would keep the whole reply in memory.
 * https://redis.io/docs/latest/develop/reference/protocol-spec/
 */
export class ReplyGuard {
  readonly #limits: ReplyLimits
  /** Bytes of a bulk string and its end that are still to come. */
  #skip = 0
  #isDropping = false
  /** The beginning of a line whose end has not arrived. */
  #line = ''
  /** The beginning of a line that announces a string, which is passed on only as a whole. */
  #header: Buffer | undefined
  /** Elements of the current reply that are still to come. */
  #elements = 0
  #allElements = 0
  #keptBytes = 0
  #totalBytes = 0

  constructor(limits: ReplyLimits) {
    this.#limits = limits
  }

  /** @returns the part of the received bytes that the client may read. @throws ReplyError */
  pass(received: Buffer): readonly Buffer[] {
    const chunk = this.#header === undefined ? received : Buffer.concat([this.#header, received])
    this.#header = undefined
    const passed: Buffer[] = []
    let from = 0
    for (let at = 0; at < chunk.length; ) {
      if (this.#skip > 0) {
        at += this.#skipped(chunk.length - at)
        if (this.#isDropping) from = at
        continue
      }
      const next = this.#readPlainHeader(chunk, at)
      if (next > at) {
        at = next
        continue
      }
      const end = chunk.indexOf(CARRIAGE_RETURN, at)
      const part = chunk.subarray(at, end < 0 ? chunk.length : end)
      const header = end < 0 ? headerIn(this.#line, part) : undefined
      if (header !== undefined) {
        this.#header = header
        if (from < chunk.length - header.length)
          passed.push(chunk.subarray(from, chunk.length - header.length))
        return passed
      }
      this.#addToLine(part)
      at += part.length
      if (end < 0) break
      const line = this.#endLine()
      at += 1
      if (!this.#isDropping) continue
      passed.push(chunk.subarray(from, end - line.length), NULL)
      from = at
    }
    if (from === 0) return [chunk]
    if (from < chunk.length) passed.push(chunk.subarray(from))
    return passed
  }

  /**
   * Reads a line that announces a string or an array within the limits, if the chunk has all of it. A page of entries has
   * thousands of such lines, so no text is made of them.
   * @returns the position after its carriage return; `at` if the line has to be read as a text.
   */
  #readPlainHeader(chunk: Buffer, at: number): number {
    if (this.#line !== '') return at
    // The line feed of the line before comes first.
    const start = chunk[at] === LINE_FEED ? at + 1 : at
    const type = chunk[start]
    if (type !== BULK && type !== ARRAY) return at
    let length = 0
    let end = start + 1
    for (const most = end + PLAIN_DIGITS; end < most; end += 1) {
      const code = chunk[end]
      if (code === undefined || code < ZERO || code > NINE) break
      length = length * 10 + code - ZERO
    }
    if (end === start + 1 || chunk[end] !== CARRIAGE_RETURN) return at
    if (type === BULK ? this.#isTooMuch(length) : length > MAX_ELEMENTS) return at
    this.#startElement()
    if (type === BULK) this.#startString(length)
    else this.#startArray(length)
    this.#count(end - at)
    return end + 1
  }

  #isTooMuch(length: number): boolean {
    if (length <= SHORT_BYTES) return false
    const { maxStringBytes, maxReplyBytes } = this.#limits
    return length > maxStringBytes || this.#keptBytes + length > maxReplyBytes
  }

  #skipped(available: number): number {
    const skipped = Math.min(this.#skip, available)
    this.#skip -= skipped
    this.#count(skipped)
    return skipped
  }

  #addToLine(part: Buffer): void {
    if (this.#line.length + part.length > MAX_LINE_BYTES)
      throw new ReplyError('the reply has an endless line')
    this.#line += part.toString('latin1')
    this.#count(part.length)
  }

  /** @returns the line. */
  #endLine(): string {
    // The line feed of the line before is at its beginning.
    const line = this.#line.startsWith('\n') ? this.#line.slice(1) : this.#line
    this.#line = ''
    this.#startElement()
    const type = line.charCodeAt(0)
    if (type === BULK) this.#startString(lengthIn(line, MAX_BULK_BYTES))
    else if (type === ARRAY) this.#startArray(lengthIn(line, MAX_ELEMENTS))
    else this.#keptBytes += line.length
    return line
  }

  /** A line starts an element of the current reply, or the next reply. */
  #startElement(): void {
    this.#isDropping = false
    if (this.#elements > 0) {
      this.#elements -= 1
      return
    }
    this.#allElements = 0
    this.#keptBytes = 0
    this.#totalBytes = 0
  }

  #startString(length: number): void {
    if (length < 0) return
    // A string ends with two bytes, of which the line feed is read with the next line.
    this.#skip = length + 2
    this.#isDropping = this.#isTooMuch(length)
    if (!this.#isDropping) this.#keptBytes += length
  }

  #startArray(length: number): void {
    if (length < 0) return
    this.#elements += length
    this.#allElements += length
    if (this.#allElements > MAX_ELEMENTS)
      throw new ReplyError(`the reply announces more than ${MAX_ELEMENTS} elements`)
  }

  #count(bytes: number): void {
    this.#totalBytes += bytes
    const most = this.#limits.maxReplyBytes + MAX_ELEMENTS * SHORT_BYTES
    if (this.#keptBytes > most) throw new ReplyError(`the reply has more than ${most} bytes`)
    if (this.#totalBytes > MAX_TOTAL_BYTES)
      throw new ReplyError(`the reply has more than ${MAX_TOTAL_BYTES} bytes`)
  }
}

/** The beginning of a line that announces a string, if a chunk ends with it. @param line - what came before. */
function headerIn(line: string, part: Buffer): Buffer | undefined {
  if (line !== '' && line !== '\n') return undefined
  const start = part[0] === LINE_FEED ? 1 : 0
  if (part[start] !== BULK) return undefined
  if (part.length > MAX_HEADER_BYTES) throw new ReplyError('the reply announces a string without a length')
  return part.subarray(start)
}

function lengthIn(line: string, max: number): number {
  const length = Number(line.slice(1))
  if (Number.isSafeInteger(length) && length <= max) return length
  const what = line.charCodeAt(0) === BULK ? 'a string' : 'an array'
  throw new ReplyError(`the reply announces ${what} of the length ${line.slice(1, 40)}`)
}

/** What a node-redis client receives from, with TLS or without. It emits the bytes of the connection as `data`. */
interface SocketHolder {
  _ejectSocket(): EventEmitter
  _insertSocket(socket: EventEmitter): void
}

/**
 * Puts a guard before the parser of a client that is not connected. node-redis has no option for it, and its parser
 * keeps a string of any length. It can exchange its socket, though: it does so when a server moves. A client that
 * cannot is used without a guard.
 * @param onBadReply - called once; nothing of the connection is passed on from then on.
 * @returns the number of bytes that the client has received so far; always 0 without a guard.
 */
export function guardReplies(
  client: RedisClient,
  limits: ReplyLimits,
  onBadReply: (error: Error) => void,
): () => number {
  if (!holdsSocket(client)) return () => 0
  const socket = client._ejectSocket()
  const guard = new ReplyGuard(limits)
  const emit = socket.emit.bind(socket)
  let isBroken = false
  let received = 0
  const emitGuarded = (event: string | symbol, ...args: unknown[]): boolean => {
    const [chunk] = args
    if (event !== 'data' || !Buffer.isBuffer(chunk)) return emit(event, ...args)
    received += chunk.length
    if (isBroken) return false
    try {
      for (const part of guard.pass(chunk)) emit('data', part)
    } catch (thrown) {
      isBroken = true
      onBadReply(toError(thrown))
    }
    return true
  }
  socket.emit = emitGuarded
  client._insertSocket(socket)
  return () => received
}

function holdsSocket(client: object): client is SocketHolder {
  return '_ejectSocket' in client && '_insertSocket' in client
}
