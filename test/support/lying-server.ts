import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'
import { onTestFinished } from 'vitest'

/** A server on this machine that a test controls. It is closed when the test ends. @param tls - for TLS. */
export async function lyingServer(onSocket: (socket: Socket) => void, tls?: TlsOptions) {
  const sockets = new Set<Socket>()
  const accept = (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
    onSocket(socket)
    // A socket that is not read does not notice that its peer has closed.
    socket.resume()
  }
  const server = tls === undefined ? createServer(accept) : createTlsServer(tls, accept)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  })
  // A server that listens on a port has this address.
  const { port } = server.address() as AddressInfo
  return { port, sockets }
}

/** Calls `send` in intervals while the socket is open. */
export function repeatedly(socket: Socket, ms: number, send: () => void): void {
  const timer = setInterval(() => (socket.writable ? send() : undefined), ms)
  socket.on('close', () => clearInterval(timer))
}
