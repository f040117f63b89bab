// The complete example: `npm run demo`, or with a broker `npm run demo -- redis://localhost:6379`, or with another place for
// the events `npm run demo -- sqlite:orders.db` or `npm run demo -- postgres://localhost/shop`.
import { randomUUID } from 'node:crypto'
import { inspect } from 'node:util'
import {
  AggregateRepository,
  AggregateRoot,
  createEventBus,
  type DomainEvent,
  defineEvent,
  type EventBus,
  type EventStore,
  evolution,
} from 'eventspine'
import { PostgresStores } from 'eventspine/postgres'
import { SqliteStores } from 'eventspine/sqlite'
import { z } from 'zod'

// Events
class OrderCreated extends defineEvent({
  type: 'OrderCreated',
  aggregateType: 'Order',
  schema: z.object({ customerId: z.uuid() }),
}) {}

class OrderShipped extends defineEvent({
  type: 'OrderShipped',
  aggregateType: 'Order',
  schema: z.object({ trackingNumber: z.string() }),
}) {}

// The aggregate
interface OrderState {
  readonly status: 'new' | 'created' | 'shipped'
}

class OrderAggregate extends AggregateRoot<OrderState> {
  protected readonly initialState: OrderState = { status: 'new' }
  protected readonly evolve = evolution<OrderState>()
    .on(OrderCreated, () => ({ status: 'created' }))
    .on(OrderShipped, () => ({ status: 'shipped' }))

  create(customerId: string): void {
    if (this.state.status !== 'new') throw new Error('the order already exists')
    this.raise(OrderCreated, { customerId })
  }
}

// Handler classes
class NotificationService {
  handle(event: OrderCreated | OrderShipped): void {
    if (event instanceof OrderCreated) say(`Sending order confirmation for ${event.aggregateId}`)
    else say(`Sending shipping notification for ${event.aggregateId}`)
  }
}

class AnalyticsService {
  subscribedTo() {
    return [OrderCreated, OrderShipped]
  }

  handle(event: DomainEvent): void {
    say(`Analytics: Recording ${event.eventType}`)
  }
}

class AuditLogger {
  handle(event: DomainEvent): void {
    say(`Audit: ${event.eventType} at ${event.occurredAt.toISOString()}`)
  }
}

let said = 0
const allSaid = Promise.withResolvers<void>()

/** Two events reach three handlers each. On a broker, they arrive asynchronously. */
function say(line: string): void {
  console.log(line)
  said += 1
  if (said === 6) allSaid.resolve()
}

async function main(bus: EventBus, eventStore: EventStore): Promise<void> {
  // Subscribe handlers
  const notificationService = new NotificationService()
  bus.subscribe(OrderCreated, notificationService)
  bus.subscribe(OrderShipped, notificationService)

  // Subscribe a projection to all types that it declares
  bus.subscribeAll(new AnalyticsService())

  // Subscribe an audit logger to ALL events
  bus.subscribeToAllEvents(new AuditLogger())

  bus.startConsumingInBackground()
  await bus.whenConsuming()

  // Set up a repository that publishes events after saving them
  const orders = new AggregateRepository({
    eventStore,
    aggregateFactory: OrderAggregate,
    aggregateType: 'Order',
    eventPublisher: bus,
  })

  // Create and save an order: its events are published
  const order = orders.createNew(randomUUID())
  order.create(randomUUID())
  await orders.save(order)

  // Or publish directly
  await bus.publish([
    new OrderShipped({ aggregateId: order.id, trackingNumber: 'TRACK-123', aggregateVersion: 2 }),
  ])

  await allSaid.promise
  console.log('Statistics:', inspect(bus.getStats(), { compact: false }))
}

const urls = process.argv.slice(2)
const isStore = (url: string) => /^(sqlite|postgres|postgresql):/.test(url)
const busUrl = urls.find((url) => !isStore(url)) ?? 'memory:'
const storeUrl = urls.find(isStore) ?? 'sqlite:.cache/demo.db'
const bus = createEventBus(busUrl, { prefix: `complete-example-${Date.now()}`, consumerGroup: 'demo' })
const tooLate = setTimeout(() => allSaid.reject(new Error(`only ${said} of 6 lines in time`)), 15_000)
const stores = storeUrl.startsWith('sqlite:')
  ? new SqliteStores({ file: storeUrl.slice('sqlite:'.length) })
  : new PostgresStores({ postgresUrl: storeUrl })
try {
  await main(bus, stores.events)
  const place = storeUrl.startsWith('sqlite:') ? storeUrl.slice('sqlite:'.length) : 'PostgreSQL'
  console.log(`Events in ${place}: ${await stores.events.headPosition()}`)
} finally {
  clearTimeout(tooLate)
  await bus.shutdown()
  await stores.close()
}
