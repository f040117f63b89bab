// npm run check:prometheus: a real Prometheus scrapes the exporter and a program with metrics. Each metric that the rules of
// examples/prometheus name must arrive, each expression of the dashboard must return data, and promtool must accept the rules
// and their tests. Needs the Debian package prometheus,
// or the folder of its programs in PROMETHEUS_BIN.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { metrics } from '@opentelemetry/api'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { defineEvent, InMemoryStores, SubscriptionManager } from '../src/index.ts'
import { RedisEventBus } from '../src/redis/index.ts'
import { waitFor } from '../src/testing/wait-for.ts'
import { freePort } from '../test/brokers/free-port.ts'
import { launchBroker } from '../test/brokers/launch-broker.ts'

const root = join(import.meta.dirname, '..')
const bin = process.env['PROMETHEUS_BIN'] ?? '/usr/bin'
const rules = join(root, 'examples', 'prometheus', 'alerts.yml')
const dashboard = join(root, 'examples', 'prometheus', 'dashboard.json')

class OrderCreated extends defineEvent<{ readonly total: number }>()({
  type: 'OrderCreated',
  aggregateType: 'Order',
}) {}

const promtool = (...args: readonly string[]) =>
  execFileSync(join(bin, 'promtool'), args, { stdio: 'inherit' })
promtool('check', 'rules', rules)
promtool('test', 'rules', join(root, 'test', 'examples', 'alerts.test.yml'))

const folder = mkdtempSync(join(tmpdir(), 'eventspine-prometheus-'))
const children: ChildProcess[] = []
await using broker = await launchBroker('redis')
const [own, exported, web] = [await freePort(), await freePort(), await freePort()]
const otel = new PrometheusExporter({ host: '127.0.0.1', port: own, preventServerStart: true })
try {
  await otel.startServer()
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [otel] }))
  await using bus = new RedisEventBus({ redisUrl: broker.url, retryBaseDelayMs: 10, retryMaxDelayMs: 10 })
  await handleAndFail(bus)
  await using stores = new InMemoryStores()
  await using manager = await subscribed(stores)
  start(process.execPath, ['src/cli/main.ts', 'exporter', broker.url, '--port', String(exported)])
  start(join(bin, 'prometheus'), [
    ...[`--config.file=${configFile()}`, `--storage.tsdb.path=${join(folder, 'data')}`],
    ...[`--web.listen-address=127.0.0.1:${web}`, '--log.level=error'],
  ])
  const queries = [...namesIn(rules), ...expressionsIn(dashboard)]
  const missing = await missingAfter(queries, 60_000)
  for (const query of missing) console.error(`${query} has no data`)
  console.log(`${queries.length - missing.length} of ${queries.length} metrics and expressions have data`)
  console.log(`subscriptions: ${Object.keys(await manager.status()).join()}`)
  process.exitCode = missing.length === 0 ? 0 : 1
} finally {
  for (const child of children) {
    child.kill('SIGTERM')
    if (child.exitCode === null) await once(child, 'close')
  }
  await otel.shutdown()
  rmSync(folder, { recursive: true })
}

/** Events that succeed, are retried and dead-lettered, so that each counter has a value. */
async function handleAndFail(bus: RedisEventBus): Promise<void> {
  const fail = ({ total }: OrderCreated) => {
    if (total === 0) throw new Error('no total')
  }
  bus.subscribe(OrderCreated, fail, { name: 'charge', maxRetries: 1 })
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  await bus.publish([0, 1].map((total) => new OrderCreated({ aggregateId: `o-${total}`, total })))
  await waitFor(async () => (await bus.deadLetters.count()) === 1)
}

/** A subscription that handles events, and parks one. */
async function subscribed({
  events,
  checkpoints,
  deadLetters,
}: InMemoryStores): Promise<SubscriptionManager> {
  const manager = new SubscriptionManager({ eventStore: events, checkpoints, deadLetters })
  const totals = {
    name: 'totals',
    handle: ({ total }: OrderCreated) => {
      if (total === 0) throw new Error('no total')
    },
  }
  manager.subscribe(totals, { maxRetries: 0, onFailure: 'deadLetter' })
  manager.start()
  const stored = [0, 1].map((total) => new OrderCreated({ aggregateId: 'o', total }))
  await events.appendEvents({ aggregateId: 'o', aggregateType: 'Order', events: stored, expectedVersion: 0 })
  await manager.whenCaughtUp('totals')
  return manager
}

function start(program: string, args: readonly string[]): void {
  children.push(spawn(program, args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] }))
}

function configFile(): string {
  const job = (name: string, port: number) =>
    `{ job_name: ${name}, static_configs: [{ targets: ['127.0.0.1:${port}'] }] }`
  const file = join(folder, 'prometheus.yml')
  const jobs = [job('orders', own), job('exporter', exported)]
  writeFileSync(
    file,
    `global: { scrape_interval: 1s, evaluation_interval: 1s }\nrule_files: ['${rules}']\nscrape_configs: [${jobs.join(', ')}]\n`,
  )
  return file
}

/** The metrics that the expressions of the rules name. */
function namesIn(file: string): readonly string[] {
  const expressions = readFileSync(file, 'utf8').match(/\b(?:eventspine|messaging)_[a-z_]+_[a-z]+\b/g) ?? []
  const labels = new Set([
    ...['messaging_consumer_group_name', 'messaging_destination_name'],
    'eventspine_subscription_name',
  ])
  return [...new Set(expressions)].filter((name) => !labels.has(name))
}

/** The expressions of the panels, for all groups and destinations. */
function expressionsIn(file: string): readonly string[] {
  // This project's own file.
  const { panels } = JSON.parse(readFileSync(file, 'utf8')) as {
    readonly panels: readonly { readonly targets?: readonly { readonly expr: string }[] }[]
  }
  return panels
    .flatMap(({ targets = [] }) => targets)
    .map(({ expr }) => expr.replaceAll('$__rate_interval', '10s').replaceAll(/\$(destination|group)/g, '.*'))
}

async function missingAfter(queries: readonly string[], timeoutMs: number): Promise<readonly string[]> {
  let missing = queries
  const hasAll = async () => {
    const results = await Promise.all(missing.map(async (name) => ((await hasData(name)) ? [] : [name])))
    missing = results.flat()
    return missing.length === 0
  }
  await waitFor(hasAll, { timeoutMs, intervalMs: 500 }).catch(() => undefined)
  return missing
}

async function hasData(name: string): Promise<boolean> {
  const answer = await fetch(`http://127.0.0.1:${web}/api/v1/query?query=${encodeURIComponent(name)}`)
  // The form of an answer of Prometheus.
  const { data } = (await answer.json()) as { readonly data?: { readonly result?: readonly unknown[] } }
  return (data?.result?.length ?? 0) > 0
}
