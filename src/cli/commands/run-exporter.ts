import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { isIPv6 } from 'node:net'
import { toError } from '../../errors.ts'
import { EXIT, type ExitCode, UsageError } from '../exit-code.ts'
import { openBus } from '../open-bus.ts'
import type { BusTarget } from '../target.ts'
import type { Terminal } from '../terminal.ts'
import { PrometheusGauges } from './prometheus-gauges.ts'

/** Scrapes within this time get the same numbers, in milliseconds. */
const FRESH_MS = 5000
const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** Serves the gauges of `bus.admin.observe` until Ctrl-C, which ends it with success. */
export async function serveMetrics(
  target: BusTarget,
  settings: {
    readonly host: string
    readonly port: number
    readonly forMs: number | undefined
    readonly terminal: Terminal
  },
): Promise<ExitCode> {
  const { host, port, forMs, terminal } = settings
  if (target.url.startsWith('memory:'))
    throw new UsageError('exporter needs a broker: memory: has no groups.')
  await using bus = await openBus(target)
  const gauges = new PrometheusGauges()
  await bus.admin.observe({ meter: gauges.meter })
  const page = shared(async () => `${await gauges.text()}${connectedText(bus.isConnected)}`)
  const server = createServer((request, response) => {
    const isMetrics = request.url?.split('?')[0] === '/metrics'
    if (!isMetrics || request.method !== 'GET') answer(response, isMetrics ? 405 : 404, 'See /metrics.\n')
    else
      page()
        .then((text) => answer(response, 200, text))
        .catch((thrown: unknown) => {
          answer(response, 500, `${toError(thrown).message}\n`)
        })
  })
  const address = await listen(server, host, port)
  terminal.err(`metrics at http://${address}/metrics; Ctrl-C ends it`)
  const ends = forMs === undefined ? [] : [AbortSignal.timeout(forMs)]
  const ended = AbortSignal.any([terminal.interrupted, ...ends])
  if (!ended.aborted) await once(ended, 'abort')
  server.closeAllConnections()
  server.close()
  return EXIT.done
}

/** Scrapes at the same time, or soon after one another, cause one round of requests to the broker. */
function shared(read: () => Promise<string>): () => Promise<string> {
  let last: { readonly at: number; readonly text: Promise<string> } | undefined
  return () => {
    if (last === undefined || performance.now() - last.at > FRESH_MS)
      last = { at: performance.now(), text: read() }
    return last.text
  }
}

function connectedText(isConnected: boolean): string {
  const name = 'eventspine_exporter_connected'
  return `# HELP ${name} 1 while the exporter is connected to the broker.\n# TYPE ${name} gauge\n${name} ${isConnected ? 1 : 0}\n`
}

async function listen(server: Server, host: string, port: number): Promise<string> {
  server.listen(port, host)
  try {
    await once(server, 'listening')
  } catch (thrown) {
    throw new UsageError(`The exporter cannot listen on ${host}:${port}: ${toError(thrown).message}`)
  }
  const bound = server.address()
  const actual = typeof bound === 'object' && bound !== null ? bound.port : port
  return `${isIPv6(host) ? `[${host}]` : host}:${actual}`
}

function answer(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': CONTENT_TYPE }).end(text)
}
