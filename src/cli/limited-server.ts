import { createServer, type Server } from 'node:http'

/** What connections to a server of the command line may take. */
export interface ServerLimits {
  /** Longest time for the headers of a request, and for a whole request, in milliseconds. */
  readonly headersMs: number
  readonly requestMs: number
  /** Time between two checks of these limits, in milliseconds. */
  readonly checkMs: number
  /** Connections that are open at the same time; another one is closed at once. */
  readonly connections: number
}

const LIMITS: ServerLimits = { headersMs: 10_000, requestMs: 30_000, checkMs: 1000, connections: 1000 }

/** A server that does not listen yet. */
export function createLimitedServer({ headersMs, requestMs, checkMs, connections } = LIMITS): Server {
  const server = createServer({
    headersTimeout: headersMs,
    requestTimeout: requestMs,
    // By default, Node.js looks every 30 seconds only.
    connectionsCheckingInterval: checkMs,
  })
  server.maxConnections = connections
  return server
}
