import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** A proxy in front of a broker, to break one client's connections without touching the others'. */
export class TcpProxy {
  readonly port: number
  readonly #server: Server
  readonly #pairs = new Set<readonly [Socket, Socket]>()
  #isFrozen = false
  #losesAnswers = false
  #isDown = false

  private constructor(server: Server, port: number) {
    this.#server = server
    this.port = port
  }

  static async start(target: { readonly host: string; readonly port: number }): Promise<TcpProxy> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    // A server that listens on TCP has such an address.
    const { port } = server.address() as AddressInfo
    const proxy = new TcpProxy(server, port)
    server.on('connection', (client) => proxy.#join(client, connect(target)))
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
    pass(client, broker, () => false)
    pass(broker, client, () => this.#losesAnswers)
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
}

function pass(from: Socket, to: Socket, isLost: () => boolean): void {
  from.on('data', (chunk) => {
    if (isLost()) return
    if (!to.write(chunk)) from.pause()
  })
  to.on('drain', () => from.resume())
}
