import { connect, type Socket } from 'node:net'
import { ProxyConnections } from './proxy-connections.ts'

interface Address {
  readonly host: string
  readonly port: number
}

interface LineSpeed {
  /** Delay in one direction, in milliseconds. */
  readonly latencyMs: number
  readonly bytesPerSecond: number
}

/** A slow and lossy network. */
export interface LineQuality extends LineSpeed {
  /** Number of chunks that pass before a connection is reset in the middle of one. */
  readonly chunksPerReset: number
  /** Number of resets, after which the network is only slow. Default: no limit. */
  readonly resets?: number
}

/** A proxy in front of a broker, to break the connections of one client without affecting others. */
export class TcpProxy {
  readonly #connections: ProxyConnections
  #target: Address
  #losesAnswers = false
  #silenced: 'requests' | 'answers' | undefined
  #quality: LineQuality | undefined
  #chunksToReset = 0
  #resetsLeft = 0
  readonly #rewrites: Partial<Record<'requests' | 'answers', (chunk: Buffer) => Buffer>> = {}

  private constructor(connections: ProxyConnections, target: Address) {
    this.#connections = connections
    this.#target = target
  }

  static async start(target: Address): Promise<TcpProxy> {
    const connections = await ProxyConnections.listen()
    const proxy = new TcpProxy(connections, target)
    connections.onClient((client) => proxy.#join(client, connect(proxy.#target)))
    return proxy
  }

  get port(): number {
    return this.#connections.port
  }

  /** Resets the current connections. New ones work. */
  cut(): void {
    this.#connections.cut()
  }

  /** While true, connections are cut and new ones refused, as if the broker were not there. */
  setDown(isDown: boolean): void {
    this.#connections.setDown(isDown)
  }

  /** Acts as a black hole: connections stay open, but nothing passes in either direction. */
  freeze(): void {
    this.#connections.freeze()
  }

  /** Lets new connections through. Frozen connections stay frozen. */
  thaw(): void {
    this.#connections.thaw()
  }

  /** While true, the broker's answers are dropped. Afterwards, the connections are cut. */
  loseAnswers(isLosing: boolean): void {
    this.#losesAnswers = isLosing
    if (!isLosing) this.cut()
  }

  /** Connects new clients to another address, as a changed DNS entry would. */
  redirect(target: Address): void {
    this.#target = target
  }

  /** Drops everything in one direction, for current and new connections; undefined restores both directions. */
  silence(direction: 'requests' | 'answers' | undefined): void {
    this.#silenced = direction
  }

  /** Makes the network slow and lossy; undefined restores it. */
  degrade(quality: LineQuality | undefined): void {
    this.#quality = quality
    this.#chunksToReset = quality?.chunksPerReset ?? 0
    this.#resetsLeft = quality?.resets ?? Number.POSITIVE_INFINITY
  }

  /** Replaces the bytes that clients send. */
  rewriteRequests(rewrite: (chunk: Buffer) => Buffer): void {
    this.#rewrites.requests = rewrite
  }

  /** Replaces the bytes that the broker sends. */
  rewriteAnswers(rewrite: (chunk: Buffer) => Buffer): void {
    this.#rewrites.answers = rewrite
  }

  close(): void {
    this.#connections.close()
  }

  #join(client: Socket, broker: Socket): void {
    this.#pass(client, broker, 'requests')
    this.#pass(broker, client, 'answers')
    this.#connections.pair(client, broker)
  }

  #pass(from: Socket, to: Socket, direction: 'requests' | 'answers'): void {
    const line = new Line(from, to)
    from.on('data', (chunk) => {
      if (this.#silenced === direction || (direction === 'answers' && this.#losesAnswers)) return
      const bytes = this.#rewrites[direction]?.(chunk) ?? chunk
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

/** Maximum number of bytes in flight on a slow line; beyond it, the sender is paused. */
const LINE_CAPACITY = 64 * 1024

/** One direction of a connection. Chunks in flight arrive in order. */
class Line {
  readonly #from: Socket
  readonly #to: Socket
  readonly #inFlight: Buffer[] = []
  #bytesInFlight = 0
  #last: Buffer | undefined
  #freeAt = 0

  constructor(from: Socket, to: Socket) {
    this.#from = from
    this.#to = to
    to.on('drain', () => from.resume())
  }

  send(chunk: Buffer): void {
    if (this.#inFlight.length > 0)
      this.sendSlowly(chunk, { latencyMs: 0, bytesPerSecond: Number.POSITIVE_INFINITY })
    else if (!this.#to.write(chunk)) this.#from.pause()
  }

  sendSlowly(chunk: Buffer, { latencyMs, bytesPerSecond }: LineSpeed): void {
    const now = performance.now()
    this.#freeAt = Math.max(now, this.#freeAt) + (chunk.length / bytesPerSecond) * 1000
    this.#inFlight.push(chunk)
    this.#bytesInFlight += chunk.length
    if (this.#bytesInFlight > LINE_CAPACITY) this.#from.pause()
    setTimeout(() => this.#arrive(), this.#freeAt + latencyMs - now).unref()
  }

  /** Delivers the first half of a chunk, after all earlier chunks, then resets the connection. */
  breakInside(chunk: Buffer, quality: LineSpeed): void {
    this.#last = chunk.subarray(0, Math.ceil(chunk.length / 2))
    this.sendSlowly(this.#last, quality)
  }

  #arrive(): void {
    const chunk = this.#inFlight.shift()
    if (chunk === undefined) return
    this.#bytesInFlight -= chunk.length
    if (chunk === this.#last) {
      this.#to.write(chunk, () => {
        for (const socket of [this.#from, this.#to]) socket.resetAndDestroy()
      })
    } else if (this.#to.writable) this.#to.write(chunk)
    if (this.#bytesInFlight <= LINE_CAPACITY) this.#from.resume()
  }
}
