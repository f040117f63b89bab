// node examples/health.ts [broker URL] [port]: readiness and liveness probes for Kubernetes.
// readinessProbe: { httpGet: { path: /ready, port: 8080 }, periodSeconds: 5, timeoutSeconds: 3 }
// livenessProbe: { httpGet: { path: /live, port: 8080 }, periodSeconds: 10, timeoutSeconds: 3, failureThreshold: 6 }
import { createServer } from 'node:http'
import { type BusHealth, createEventBus } from 'eventspine'

const bus = createEventBus(process.argv[2] ?? 'memory:')
bus.startConsumingInBackground()

/** Ready while the bus works. A degraded bus counts as ready, because removing the pod would not help. */
const isReady = ({ status }: BusHealth) => status !== 'down'

/** Alive unless a handler hangs. A restart fixes a hanging handler, but not an unreachable broker. */
const isAlive = ({ checks }: BusHealth) => checks.oldestUnsettledMs.status === 'up'

const server = createServer(async (request, response) => {
  const health = await bus.health({ maxUnsettledMs: 600_000 })
  const isWell = request.url === '/live' ? isAlive(health) : isReady(health)
  response.writeHead(isWell ? 200 : 503, { 'content-type': 'application/json' })
  response.end(JSON.stringify(health))
})
server.listen(Number(process.argv[3] ?? 8080), () => console.log('listening; stop it with SIGTERM'))

process.once('SIGTERM', async () => {
  await bus.shutdown()
  server.close()
})
