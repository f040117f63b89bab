import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'

/** Largest bulk string that a Redis server sends by default (`proto-max-bulk-len`). */
const MAX_BULK_BYTES = 512 * 1024 * 1024
/** Largest reply. A larger one would not fit into memory as a whole, as the client keeps it. */
const MAX_REPLY_BYTES = 2 * MAX_BULK_BYTES
/** Most elements of an array, which the client allocates before they arrive. */
const MAX_ELEMENTS = 10_000_000
/** Longest line: a status, an error, a number or a length. */
const MAX_LINE_BYTES = 1024 * 1024

const CARRIAGE_RETURN = 0x0d
const BULK = 0x24
const ARRAY = 0x2a

/** A reply that no Redis server sends, or that is too large. */
class ReplyError extends Error {}

/**
 * Follows the framing of RESP 2 through the chunks of a connection, without keeping any of them.
 * https://redis.io/docs/latest/develop/reference/protocol-spec/
 */
export class ReplyGuard {
  /** Bytes of a bulk string and its end that are still to come. */
  #skip = 0
  /** The beginning of a line whose end has not arrived. */
  #line = ''
  /** Elements of the current reply that are still to come. */
  #elements = 0
  #replyBytes = 0

  /** @throws ReplyError */
  check(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length; ) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, chunk.length - at)
        this.#skip -= skipped
        at += skipped
        this.#count(skipped)
        continue
      }
      const end = chunk.indexOf(CARRIAGE_RETURN, at)
      const part = chunk.subarray(at, end < 0 ? chunk.length : end)
      this.#addToLine(part)
      at += part.length
      this.#count(part.length)
      if (end >= 0) {
        this.#endLine()
        at += 1
      }
    }
  }

  #addToLine(part: Uint8Array): void {
    if (this.#line.length + part.length > MAX_LINE_BYTES)
      throw new ReplyError('the reply has an endless line')
    this.#line += Buffer.from(part.buffer, part.byteOffset, part.byteLength).toString('latin1')
  }

  #endLine(): void {
    // The line feed of the line before is at its beginning.
    const line = this.#line.startsWith('\n') ? this.#line.slice(1) : this.#line
    this.#line = ''
    const type = line.charCodeAt(0)
    if (this.#elements === 0) this.#replyBytes = 0
    else this.#elements -= 1
    if (type !== BULK && type !== ARRAY) return
    const length = Number(line.slice(1))
    if (!Number.isSafeInteger(length) || length > (type === BULK ? MAX_BULK_BYTES : MAX_ELEMENTS)) {
      const what = type === BULK ? 'a string' : 'an array'
      throw new ReplyError(`the reply announces ${what} of the length ${line.slice(1, 40)}`)
    }
    // A string ends with two bytes, of which the line feed is read with the next line.
    if (type === BULK && length >= 0) this.#skip = length + 2
    else if (length > 0) this.#elements += length
  }

  #count(bytes: number): void {
    this.#replyBytes += bytes
    if (this.#replyBytes > MAX_REPLY_BYTES)
      throw new ReplyError(`the reply has more than ${MAX_REPLY_BYTES} bytes`)
  }
}

/** True inside of {@link guardingReplies}. */
const dialing = new AsyncLocalStorage<true>()
let isSubscribed = false

/**
 * Connects, and closes the connection as soon as the server sends a reply that it should not: the client would buffer it
 * until memory is exhausted. The client does not show its socket, so Node's diagnostics channel does. A TLS socket is not
 * among them, but its server has proved who it is.
 */
export function guardingReplies<T>(connect: () => Promise<T>): Promise<T> {
  if (!isSubscribed) subscribe('net.client.socket', onSocket)
  isSubscribed = true
  return dialing.run(true, connect)
}

function onSocket(message: unknown): void {
  if (dialing.getStore() !== true) return
  // What this channel carries: https://nodejs.org/api/diagnostics_channel.html#net
  const { socket } = message as { readonly socket: Socket }
  const guard = new ReplyGuard()
  socket.once('connect', () => {
    socket.on('data', (chunk: Buffer) => {
      try {
        guard.check(chunk)
      } catch (error) {
        socket.destroy(error instanceof Error ? error : new ReplyError('the reply cannot be checked'))
      }
    })
  })
}
