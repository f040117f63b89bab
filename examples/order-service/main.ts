// node examples/order-service/main.ts: an order service over HTTP, with an aggregate, a projection, a relay and two workers.
// BUS_URL (default memory:) chooses the bus, STORE_URL (default sqlite:.cache/orders.db) the store, PORT (8080) the port.
//   curl -X POST localhost:8080/orders -d '{ "customer": "ann", "total": 42 }'
//   curl localhost:8080/orders
// GET /ready and /live are probes, GET /metrics is for Prometheus.
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { dirname } from 'node:path'
import { metrics } from '@opentelemetry/api'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import {
  AggregateRepository,
  createEventBus,
  EventValidationError,
  InMemoryEventBus,
  SubscriptionManager,
} from 'eventspine'
import { PostgresStores } from 'eventspine/postgres'
import { SqliteStores } from 'eventspine/sqlite'
import { Order } from './order.ts'
import { OrderList } from './order-list.ts'
import { subscribeMails, subscribePayments } from './workers.ts'

const {
  BUS_URL = 'memory:',
  STORE_URL = 'sqlite:.cache/orders.db',
  PORT = '8080',
  PREFIX = 'orders',
} = process.env

const exporter = new PrometheusExporter({ preventServerStart: true })
metrics.setGlobalMeterProvider(new MeterProvider({ readers: [exporter] }))

const stores = openStores(STORE_URL)
const orders = new AggregateRepository({
  eventStore: stores.events,
  aggregateFactory: Order,
  aggregateType: 'Order',
})

// In memory, one bus serves all. On a broker, each worker has a bus with its own consumer group, and may be a process.
const publisher = createEventBus(BUS_URL, { prefix: PREFIX, consumerGroup: 'orders' })
const busOf = (consumerGroup: string) =>
  publisher instanceof InMemoryEventBus
    ? publisher
    : createEventBus(BUS_URL, { prefix: PREFIX, consumerGroup })
const payments = busOf('payments')
const mails = busOf('mails')
subscribePayments(payments, orders)
subscribeMails(mails)
for (const worker of [payments, mails]) worker.startConsumingInBackground()
await Promise.all([payments.whenConsuming(), mails.whenConsuming()])

const list = new OrderList()
const manager = new SubscriptionManager({ eventStore: stores.events, checkpoints: stores.checkpoints })
manager.subscribe({ name: 'order-list', handlers: list.handlers() }, { startFrom: 'beginning' })
manager.relay(publisher, { name: 'to-bus' })
manager.start()

const server = createServer((request, response) => {
  answer(request, response).catch((error: unknown) => {
    const isInvalid = error instanceof EventValidationError || error instanceof SyntaxError
    send(response, isInvalid ? 400 : 500, { error: isInvalid ? error.message : 'internal error' })
  })
})
server.listen(Number(PORT), '127.0.0.1')
await once(server, 'listening')
console.log(`listening on port ${PORT}; stop it with SIGTERM`)
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void stop())

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  switch (`${request.method} ${request.url}`) {
    case 'POST /orders': {
      const { customer, total } = JSON.parse(await textOf(request))
      const order = orders.createNew(`Order-${randomUUID()}`)
      order.place(customer, total)
      await orders.save(order)
      return send(response, 201, { id: order.id })
    }
    case 'GET /orders':
      return send(response, 200, list.orders)
    case 'GET /ready': {
      const health = await Promise.all([
        publisher.health(),
        payments.health(),
        mails.health(),
        manager.health(),
      ])
      return send(response, health.some(({ status }) => status === 'down') ? 503 : 200, health)
    }
    case 'GET /live': {
      const { checks } = await payments.health()
      return send(response, checks.oldestUnsettledMs.status === 'up' ? 200 : 503, checks.oldestUnsettledMs)
    }
    case 'GET /metrics':
      return exporter.getMetricsRequestHandler(request, response)
    default:
      return send(response, 404, { error: 'not found' })
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request) text += chunk
  return text
}

function openStores(url: string): SqliteStores | PostgresStores {
  if (!url.startsWith('sqlite:')) return new PostgresStores({ postgresUrl: url })
  const file = url.slice('sqlite:'.length)
  mkdirSync(dirname(file), { recursive: true })
  return new SqliteStores({ file })
}

/** First no new requests, then no new events, then no running handlers, then the connections. */
async function stop(): Promise<void> {
  server.close()
  await manager.stop()
  await Promise.all([...new Set([publisher, payments, mails])].map((bus) => bus.shutdown()))
  await stores.close()
  await exporter.shutdown()
}
