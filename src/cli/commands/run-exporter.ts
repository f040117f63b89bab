import { once } from 'node:events'
import type { Server, ServerResponse } from 'node:http'
import { isIPv6 } from 'node:net'
import { toError } from '../../errors.ts'
import { observeSubscriptions } from '../../subscriptions/index.ts'
import { EXIT, type ExitCode, UsageError } from '../exit-code.ts'
import { createLimitedServer } from '../limited-server.ts'
import { openBus } from '../open-bus.ts'
import { openExistingStores } from '../open-stores.ts'
import { busTarget, isStore, type LogInvocation, storeTarget } from '../target.ts'
import { PrometheusGauges } from './prometheus-gauges.ts'

/** Scrapes within this time get the same numbers, in milliseconds. */
const FRESH_MS = 5000
const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** What is exported. */
interface Source extends AsyncDisposable {
  readonly isConnected: () => boolean | Promise<boolean>
}

/** Serves the gauges of `bus.admin.observe`, or of `observeSubscriptions`, until Ctrl-C, which ends it with success. */
export async function serveMetrics(
  invocation: LogInvocation,
  settings: { readonly host: string; readonly port: number; readonly forMs: number | undefined },
): Promise<ExitCode> {
  const { terminal } = invocation
  const { host, port, forMs } = settings
  const gauges = new PrometheusGauges()
  await using source = await (isStore(invocation) ? openStore : openBroker)(invocation, gauges.meter)
  const page = shared(async () => `${await gauges.text()}${connectedText(await source.isConnected())}`)
  const server = createLimitedServer().on('request', (request, response) => {
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

async function openBroker(invocation: LogInvocation, meter: PrometheusGauges['meter']): Promise<Source> {
  const target = await busTarget(invocation)
  if (target.url.startsWith('memory:'))
    throw new UsageError('exporter needs a broker or a store: memory: has no groups.')
  const bus = await openBus(target)
  await bus.admin.observe({ meter })
  return { isConnected: () => bus.isConnected, [Symbol.asyncDispose]: () => bus.shutdown() }
}

async function openStore(invocation: LogInvocation, meter: PrometheusGauges['meter']): Promise<Source> {
  const stores = await openExistingStores(await storeTarget(invocation), invocation.terminal)
  observeSubscriptions(stores, { meter })
  const isConnected = async () => (await stores.events.health()).status !== 'down'
  return { isConnected, [Symbol.asyncDispose]: () => stores.close() }
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
  return `# HELP ${name} 1 while the exporter is connected to the broker or the store.\n# TYPE ${name} gauge\n${name} ${isConnected ? 1 : 0}\n`
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
