import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

/** A server that handlers call over TCP. It can be down. */
export class Dependency implements AsyncDisposable {
  readonly #port: number
  readonly #clients = new Set<Socket>()
  #server: Server | undefined
  #socket: Socket | undefined
  /** The calls without an answer, oldest first. */
  #calls: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = []

  private constructor(port: number) {
    this.#port = port
  }

  static async start(port: number): Promise<Dependency> {
    const dependency = new Dependency(port)
    await dependency.up()
    return dependency
  }

  /** Listens again. */
  async up(): Promise<void> {
    this.#server = createServer((client) => {
      this.#clients.add(client)
      client.on('error', () => client.destroy())
      client.on('close', () => this.#clients.delete(client))
      client.pipe(client)
    })
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  /** Closes all connections, and refuses new ones. */
  async down(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    server.close()
    for (const client of this.#clients) client.destroy()
    await once(server, 'close')
  }

  /** One request and its answer. Rejects with the error of the socket while the server is down. */
  call(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#calls.push({ resolve, reject })
    this.#connection().write('.')
    return promise
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket?.destroy()
    await this.down()
  }

  #connection(): Socket {
    if (this.#socket !== undefined && !this.#socket.destroyed) return this.#socket
    const socket = connect(this.#port, '127.0.0.1')
    let failure: Error = Object.assign(new Error('The connection was closed.'), { code: 'ECONNRESET' })
    socket.on('data', (answers) => {
      for (const call of this.#calls.splice(0, answers.length)) call.resolve()
    })
    socket.on('error', (error) => {
      failure = error
    })
    socket.on('close', () => {
      if (this.#socket !== socket) return
      this.#socket = undefined
      for (const call of this.#calls.splice(0)) call.reject(failure)
    })
    this.#socket = socket
    return socket
  }
}
