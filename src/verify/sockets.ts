import { Socket } from 'node:net'
import type { LineChange } from './messages.ts'

/** The members of a socket that are replaced. They exist on the prototype. */
interface Inner {
  push: (chunk: unknown) => boolean
  _write: Write
  _writev?: undefined
}

type Write = (chunk: unknown, encoding: BufferEncoding, callback: (error?: Error | null) => void) => void

/**
 * Breaks the connections of this process. A proxy would not do: a Kafka cluster announces its own addresses, and a certificate
 * is for the name of the server.
 */
export class OwnSockets {
  readonly #open = new Set<Socket>()
  readonly #delayed = new WeakSet<Socket>()
  #isFrozen = false
  #latencyMs = 0

  constructor() {
    const add = (socket: Socket) => this.#add(socket)
    const { connect } = Socket.prototype
    // Sockets with TLS inherit it.
    Socket.prototype.connect = function (this: Socket, ...args: readonly unknown[]) {
      add(this)
      return Reflect.apply(connect, this, args)
    }
  }

  change({ change, latencyMs = 0 }: LineChange): void {
    if (change === 'cut') for (const socket of this.#open) socket.destroy(new Error('read ECONNRESET'))
    if (change === 'freeze') for (const socket of this.#open) freeze(socket)
    if (change === 'degrade') {
      this.#latencyMs = latencyMs
      for (const socket of this.#open) this.#delay(socket)
    } else this.#isFrozen = change === 'freeze'
  }

  #add(socket: Socket): void {
    this.#open.add(socket)
    socket.once('close', () => this.#open.delete(socket))
    if (this.#isFrozen) freeze(socket)
    else if (this.#latencyMs > 0) this.#delay(socket)
  }

  #delay(socket: Socket): void {
    if (this.#delayed.has(socket)) return
    this.#delayed.add(socket)
    const inner = innerOf(socket)
    const { push, _write: write } = inner
    const [arrive, leave] = [this.#line(), this.#line()]
    inner.push = (chunk) => {
      arrive(() => push.call(socket, chunk))
      return true
    }
    inner._write = (...args) => leave(() => write.apply(socket, args))
    // Without it, `_write` gets every chunk.
    inner._writev = undefined
  }

  /** One direction of a connection, in which what was sent first arrives first. */
  #line(): (work: () => void) => void {
    const waiting: (() => void)[] = []
    return (work) => {
      if (this.#latencyMs === 0 && waiting.length === 0) return work()
      waiting.push(work)
      setTimeout(() => waiting.shift()?.(), this.#latencyMs)
    }
  }
}

function freeze(socket: Socket): void {
  Object.assign(innerOf(socket), { push: () => true, _write: () => undefined, _writev: undefined })
}

/** Node.js documents these members for the authors of streams. */
function innerOf(socket: Socket): Inner {
  return socket as unknown as Inner
}
