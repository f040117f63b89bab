import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

interface Address {
  readonly host: string
  readonly port: number
}

interface LineSpeed {
  /** One way, in milliseconds. */
  readonly latencyMs: number
  readonly bytesPerSecond: number
}

/** How a network is that is neither fast nor sound. */
export interface LineQuality extends LineSpeed {
  /** Chunks that pass until a connection is reset in the middle of one. */
  readonly chunksPerReset: number
  /** Resets until it only is slow. Default: no end. */
  readonly resets?: number
}

/** A proxy in front of a broker, to break one client's connections without touching the others'. */
export class TcpProxy {
  readonly port: number
  readonly #server: Server
  #target: Address
  readonly #pairs = new Set<readonly [Socket, Socket]>()
  #isFrozen = false
  #losesAnswers = false
  #isDown = false
  #silenced: 'requests' | 'answers' | undefined
  #quality: LineQuality | undefined
  #chunksToReset = 0
  #resetsLeft = 0
  #rewrite: ((chunk: Buffer) => Buffer) | undefined

  private constructor(server: Server, port: number, target: Address) {
    this.#server = server
    this.#target = target
    this.port = port
  }

  static async start(target: Address): Promise<TcpProxy> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    // A server that listens on TCP has such an address.
    const { port } = server.address() as AddressInfo
    const proxy = new TcpProxy(server, port, target)
    server.on('connection', (client) => proxy.#join(client, connect(proxy.#target)))
    return proxy
  }

  /** Breaks the connections that there are; new ones work. */
  cut(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.resetAndDestroy()
  }

  /** While true, connections are cut and new ones refused, as if the broker were not there. */
  setDown(isDown: boolean): void {
    this.#isDown = isDown
    if (isDown) this.cut()
  }

  /** A black hole from now on: connections stay open, and nothing passes either way. */
  freeze(): void {
    this.#isFrozen = true
    for (const pair of this.#pairs) for (const socket of pair) socket.pause()
  }

  /** Lets new connections through; those that were frozen stay so. */
  thaw(): void {
    this.#isFrozen = false
  }

  /** While true, what the broker answers is lost; afterwards the connections that missed answers are cut. */
  loseAnswers(isLosing: boolean): void {
    this.#losesAnswers = isLosing
    if (!isLosing) this.cut()
  }

  /** Leads new connections elsewhere, as a name that is looked up again would. */
  redirect(target: Address): void {
    this.#target = target
  }

  /** A black hole in one direction, for the connections that there are and for new ones; undefined for none. */
  silence(direction: 'requests' | 'answers' | undefined): void {
    this.#silenced = direction
  }

  /** Makes the network slow and lossy; undefined makes it good again. */
  degrade(quality: LineQuality | undefined): void {
    this.#quality = quality
    this.#chunksToReset = quality?.chunksPerReset ?? 0
    this.#resetsLeft = quality?.resets ?? Number.POSITIVE_INFINITY
  }

  /** Changes what clients send, to bytes that no client would. */
  rewriteRequests(rewrite: (chunk: Buffer) => Buffer): void {
    this.#rewrite = rewrite
  }

  close(): void {
    this.#server.close()
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy()
  }

  #join(client: Socket, broker: Socket): void {
    if (this.#isDown) {
      for (const socket of [client, broker]) socket.on('error', () => undefined).resetAndDestroy()
      return
    }
    const pair = [client, broker] as const
    this.#pairs.add(pair)
    this.#pass(client, broker, 'requests')
    this.#pass(broker, client, 'answers')
    for (const socket of pair) {
      socket.on('error', () => undefined)
      socket.on('close', () => {
        this.#pairs.delete(pair)
        if (this.#isFrozen) return
        client.destroy()
        broker.destroy()
      })
      if (this.#isFrozen) socket.pause()
    }
  }

  #pass(from: Socket, to: Socket, direction: 'requests' | 'answers'): void {
    const line = new Line(from, to)
    from.on('data', (chunk) => {
      if (this.#silenced === direction || (direction === 'answers' && this.#losesAnswers)) return
      const bytes = direction === 'requests' && this.#rewrite !== undefined ? this.#rewrite(chunk) : chunk
      if (this.#quality === undefined) line.send(bytes)
      else if (this.#isResetDue()) line.breakInside(bytes, this.#quality)
      else line.sendSlowly(bytes, this.#quality)
    })
  }

  #isResetDue(): boolean {
    this.#chunksToReset -= 1
    if (this.#chunksToReset > 0 || this.#resetsLeft === 0) return false
    this.#chunksToReset = this.#quality?.chunksPerReset ?? 0
    this.#resetsLeft -= 1
    return true
  }
}

/** Bytes under way in a slow line; more than these wait at the sender. */
const LINE_CAPACITY = 64 * 1024

/** One direction of a connection. What is under way arrives in its order. */
class Line {
  readonly #from: Socket
  readonly #to: Socket
  readonly #underWay: Buffer[] = []
  #bytesUnderWay = 0
  #last: Buffer | undefined
  #freeAt = 0

  constructor(from: Socket, to: Socket) {
    this.#from = from
    this.#to = to
    to.on('drain', () => from.resume())
  }

  send(chunk: Buffer): void {
    if (this.#underWay.length > 0)
      this.sendSlowly(chunk, { latencyMs: 0, bytesPerSecond: Number.POSITIVE_INFINITY })
    else if (!this.#to.write(chunk)) this.#from.pause()
  }

  sendSlowly(chunk: Buffer, { latencyMs, bytesPerSecond }: LineSpeed): void {
    const now = performance.now()
    this.#freeAt = Math.max(now, this.#freeAt) + (chunk.length / bytesPerSecond) * 1000
    this.#underWay.push(chunk)
    this.#bytesUnderWay += chunk.length
    if (this.#bytesUnderWay > LINE_CAPACITY) this.#from.pause()
    setTimeout(() => this.#arrive(), this.#freeAt + latencyMs - now).unref()
  }

  /** Half of it arrives, after what was sent before, and then the connection breaks. */
  breakInside(chunk: Buffer, quality: LineSpeed): void {
    this.#last = chunk.subarray(0, Math.ceil(chunk.length / 2))
    this.sendSlowly(this.#last, quality)
  }

  #arrive(): void {
    const chunk = this.#underWay.shift()
    if (chunk === undefined) return
    this.#bytesUnderWay -= chunk.length
    if (chunk === this.#last) {
      this.#to.write(chunk, () => {
        for (const socket of [this.#from, this.#to]) socket.resetAndDestroy()
      })
    } else if (this.#to.writable) this.#to.write(chunk)
    if (this.#bytesUnderWay <= LINE_CAPACITY) this.#from.resume()
  }
}
