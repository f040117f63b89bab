// The order example: `npm run demo` in memory, `npm run demo -- redis://localhost:6379` on a broker.
import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import { createEventBus, type DomainEvent, defineEvent, type EventBus, JsonCodec } from 'eventspine'
import { z } from 'zod'

class OrderCreated extends defineEvent({
  type: 'OrderCreated',
  aggregateType: 'Order',
  schema: z.object({ order_number: z.string(), customer_id: z.uuid(), total: z.string() }),
}) {}

class OrderShipped extends defineEvent({
  type: 'OrderShipped',
  aggregateType: 'Order',
  schema: z.object({ tracking_number: z.string(), carrier: z.string().nullable() }),
}) {}

class NotificationService {
  handle(event: OrderCreated | OrderShipped): void {
    if (event instanceof OrderCreated) console.log(`Notification: order ${event.order_number} is confirmed`)
    else console.log(`Notification: order shipped, tracking number ${event.tracking_number}`)
  }
}

class AnalyticsService {
  subscribedTo() {
    return [OrderCreated, OrderShipped]
  }

  handle(event: DomainEvent): void {
    console.log(`Analytics: recording ${event.eventType}`)
  }
}

class AuditLogger {
  count = 0

  handle(event: DomainEvent): void {
    this.count += 1
    console.log(`Audit: ${event.eventType} of ${event.aggregateType} at ${event.occurredAt.toISOString()}`)
  }
}

/** Messages that the Python library eventsource-py left on a Redis stream, as events: some of types unknown here. */
function ordersFromPython(): readonly DomainEvent[] {
  const text = readFileSync(new URL('../test/wire/redis.json', import.meta.url), 'utf8')
  const { cases } = JSON.parse(text) as { cases: { kind: string; raw: { fields: Record<string, string> } }[] }
  const codec = new JsonCodec()
  const classes = new Map(
    [OrderCreated, OrderShipped].map((eventClass) => [eventClass.eventType, eventClass]),
  )
  return cases
    .filter(({ kind }) => kind === 'publish')
    .map(({ raw }) =>
      codec.decode({ headers: {}, body: raw.fields['payload'] ?? '' }, (type) => classes.get(type)),
    )
}

async function handled(audit: AuditLogger, count: number): Promise<void> {
  const deadline = Date.now() + 15_000
  while (audit.count < count) {
    if (Date.now() > deadline) throw new Error(`only ${audit.count} of ${count} events arrived in time`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

async function run(bus: EventBus): Promise<void> {
  const audit = new AuditLogger()
  bus.subscribe([OrderCreated, OrderShipped], new NotificationService())
  bus.subscribeAll(new AnalyticsService())
  bus.subscribeToAllEvents(audit)
  bus.startConsumingInBackground()
  await bus.whenConsuming()

  const order = { aggregateId: 'Order-123' }
  await bus.publish([
    new OrderCreated({
      ...order,
      order_number: 'ORD-123',
      customer_id: '0b9f3c1e-5c0b-4d8a-9f5e-2f1f6c1d7a10',
      total: '42.00',
    }),
    new OrderShipped({ ...order, aggregateVersion: 2, tracking_number: 'TRACK-123', carrier: null }),
  ])
  const fromPython = ordersFromPython()
  await bus.publish(fromPython)

  await handled(audit, 2 + fromPython.length)
}

const url = process.argv[2] ?? 'memory:'
const bus = createEventBus(url, { prefix: `order-demo-${Date.now()}`, consumerGroup: 'demo' })
try {
  await run(bus)
  console.log('Statistics:', inspect(bus.getStats(), { compact: false }))
} finally {
  await bus.shutdown()
}
