// node examples/prometheus.ts [port]: a bus whose metrics Prometheus can scrape at http://127.0.0.1:9464/metrics.
// scrape_configs: [{ job_name: orders, static_configs: [{ targets: ['127.0.0.1:9464'] }] }]
import { metrics } from '@opentelemetry/api'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { defineEvent, InMemoryEventBus } from 'eventspine'

class OrderCreated extends defineEvent<{ readonly total: number }>()({
  type: 'OrderCreated',
  aggregateType: 'Order',
}) {}

const port = Number(process.argv[2] ?? 9464)
const exporter = new PrometheusExporter({ host: '127.0.0.1', port, preventServerStart: true })
await exporter.startServer()
metrics.setGlobalMeterProvider(new MeterProvider({ readers: [exporter] }))

const bus = new InMemoryEventBus()
bus.subscribe(OrderCreated, async function invoicing() {})
const order = () => new OrderCreated({ aggregateId: 'Order-1', total: 42 })
await bus.publish([order(), order()])
const orders = setInterval(() => bus.publish([order()], { background: true }), 1000)
console.log('ready to be scraped; stop it with SIGTERM')

process.once('SIGTERM', async () => {
  clearInterval(orders)
  await bus.shutdown()
  await exporter.shutdown()
})
