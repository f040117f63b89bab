import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'

/** The server and the connections of a proxy. Each connection is a pair of sockets, to the client and to the broker. */
export class ProxyConnections {
  readonly port: number
  readonly #server: Server
  readonly #pairs = new Set<readonly [Socket, Socket]>()
  #isFrozen = false
  #isDown = false

  private constructor(server: Server, port: number) {
    this.#server = server
    this.port = port
  }

  /** Listens on a free port of the loopback interface. */
  static async listen(): Promise<ProxyConnections> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    // A server that listens on TCP has such an address.
    const { port } = server.address() as AddressInfo
    return new ProxyConnections(server, port)
  }

  onClient(listener: (client: Socket) => void): void {
    this.#server.on('connection', (client) => {
      if (this.#isDown) client.on('error', () => undefined).resetAndDestroy()
      else listener(client)
    })
  }

  /** Ties two sockets together: if one closes, both do. */
  pair(client: Socket, broker: Socket): void {
    const pair = [client, broker] as const
    this.#pairs.add(pair)
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

  /** Resets the current connections. New ones work. */
  cut(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.resetAndDestroy()
  }

  /** While true, connections are cut and new ones refused, as if the broker were not there. */
  setDown(isDown: boolean): void {
    this.#isDown = isDown
    if (isDown) this.cut()
  }

  /** Acts as a black hole: connections stay open, but nothing passes in either direction. */
  freeze(): void {
    this.#isFrozen = true
    for (const pair of this.#pairs) for (const socket of pair) socket.pause()
  }

  /** Lets new connections through. Frozen connections stay frozen. */
  thaw(): void {
    this.#isFrozen = false
  }

  close(): void {
    this.#server.close()
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy()
  }
}
