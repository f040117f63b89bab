import type { Socket } from 'node:net'
import { toError } from '../../errors.ts'

/** A response holds a correlation id at least. */
const MIN_FRAME = 4
const SIZE_BYTES = 4

/** Follows the frames of a connection: the size of a response, then the response. */
export class FrameGuard {
  readonly #maxBytes: number
  readonly #size = Buffer.alloc(SIZE_BYTES)
  #sizeBytes = 0
  /** Bytes of the current response that are to come. */
  #left = 0
  #isFirst = true

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** @returns why the bytes are no responses of the protocol; undefined if they are. */
  fault(chunk: Buffer): string | undefined {
    // A server that requires TLS. The client recognizes it.
    if (this.#isFirst && isTlsRecord(chunk)) return undefined
    this.#isFirst = false
    for (let at = 0; at < chunk.length; ) {
      if (this.#left > 0) {
        const skipped = Math.min(this.#left, chunk.length - at)
        this.#left -= skipped
        at += skipped
        continue
      }
      const copied = chunk.copy(this.#size, this.#sizeBytes, at)
      this.#sizeBytes += copied
      at += copied
      if (this.#sizeBytes < SIZE_BYTES) continue
      this.#sizeBytes = 0
      this.#left = this.#size.readInt32BE(0)
      if (this.#left < MIN_FRAME)
        return `the server sent a response of ${this.#left} bytes, which is impossible`
      if (this.#left > this.#maxBytes) {
        return `the server announced a response of ${this.#left} bytes, more than maxResponseBytes (${this.#maxBytes})`
      }
    }
    return undefined
  }
}

/**
 * Checks the size of each response in front of the client's parser, which believes it: it fails outside of any promise
 * for a size of 0 to 3 (which ends the process), and collects whatever size a server announces. Errors of the parser
 * break the connection, too, instead of the process. Call it between `connect` of the client and the end of the
 * handshake: then the client has a socket, and no data listener.
 */
export function guardFrames(socket: Socket, maxBytes: number): void {
  const guard = new FrameGuard(maxBytes)
  const add: (event: string, listener: (chunk: Buffer) => void) => Socket = socket.on.bind(socket)
  const guarded = (listener: (chunk: Buffer) => void) => (chunk: Buffer) => {
    if (socket.destroyed) return
    try {
      const fault = guard.fault(chunk)
      if (fault === undefined) listener(chunk)
      else socket.destroy(new Error(fault))
    } catch (thrown) {
      socket.destroy(toError(thrown))
    }
  }
  const addGuarded: typeof add = (event, listener) =>
    add(event, event === 'data' ? guarded(listener) : listener)
  // The method has an overload per event; listeners of other events are passed on unchanged.
  socket.on = addGuarded as typeof socket.on
}

function isTlsRecord(chunk: Buffer): boolean {
  const [type = 0, major = 0, minor = 0] = chunk
  return chunk.length >= 3 && type >= 0x14 && type <= 0x17 && major === 3 && minor <= 4
}
