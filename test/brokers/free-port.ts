import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

// Below the ports that systems assign to outgoing connections (from 32768 on Linux, 49152 elsewhere), so that no other
// process takes a broker's port while the broker is down.
const lowest = 20_000
const beyond = 32_768

export async function freePort(): Promise<number> {
  for (let attempt = 1; attempt <= 100; attempt += 1) {
    const port = randomInt(lowest, beyond)
    if (await isFree(port)) return port
  }
  throw new Error(`No free port on 127.0.0.1 among 100 tried between ${lowest} and ${beyond}`)
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })
}
