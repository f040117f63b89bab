// What the examples of the source leave out.
import { randomUUID } from 'node:crypto'
import {
  AggregateRepository,
  AggregateRoot,
  defineEvent,
  type EventBus,
  type EventClass,
  type EventStore,
  evolution,
  type HandledKeys,
  handlerFor,
  InMemoryCheckpointStore,
  InMemoryEventStore,
  type LogFields,
  SubscriptionManager,
} from 'eventspine'
import { PostgresStores } from 'eventspine/postgres'
import { SqliteStores } from 'eventspine/sqlite'
import {
  type CreateBusOptions,
  MemoryBrokerEventBus,
  type RunningRelay,
  type StartRelay,
} from 'eventspine/testing'
import pg from 'pg'
import { z } from 'zod'

export { default as assert } from 'node:assert/strict'
export { z } from 'zod'

export class OrderCreated extends defineEvent({
  type: 'OrderCreated',
  aggregateType: 'Order',
  schema: z.object({ customerId: z.uuid() }),
}) {}
export class OrderPlaced extends defineEvent({
  type: 'OrderPlaced',
  aggregateType: 'Order',
  schema: z.object({ total: z.number() }),
}) {}
export class OrderPaid extends defineEvent({
  type: 'OrderPaid',
  aggregateType: 'Order',
  schema: z.object({ amount: z.number() }),
}) {}
export class OrderPlacedAndPaid extends defineEvent<{ total: number }>()({
  type: 'OrderPlacedAndPaid',
  aggregateType: 'Order',
}) {}
export class OrderShipped extends defineEvent<{ trackingNumber: string }>()({
  type: 'OrderShipped',
  aggregateType: 'Order',
}) {}
export class OrderViewed extends defineEvent<{ by: string }>()({
  type: 'OrderViewed',
  aggregateType: 'Order',
}) {}
export class InvoiceIssued extends defineEvent<{ amount: number }>()({
  type: 'InvoiceIssued',
  aggregateType: 'Invoice',
}) {}

export interface OrderState {
  readonly status: 'new' | 'placed' | 'shipped'
  readonly customerId?: string
}
export interface OrderCommand {
  readonly trackingNumber: string
}
export class Order extends AggregateRoot<OrderState> {
  protected readonly initialState: OrderState = { status: 'new' }
  protected readonly evolve = evolution<OrderState>()
    .on(OrderCreated, (state) => ({ ...state, status: 'placed' }))
    .on(OrderPlaced, (state) => ({ ...state, status: 'placed' }))
    .on(OrderShipped, (state) => ({ ...state, status: 'shipped' }))

  readonly total = 42

  place(total: number): void {
    this.raise(OrderPlaced, { total })
  }

  ship(trackingNumber: string): void {
    this.raise(OrderShipped, { trackingNumber })
  }
}

export const aggregateId = 'Order-1'
export const customerId = randomUUID()

export const subscribeHandlers = (to: EventBus) =>
  to.subscribe(
    OrderPlaced,
    ({ total }) => to.publish([new InvoiceIssued({ aggregateId: 'Invoice-1', amount: total })]),
    { name: 'invoice' },
  )
export const bus = new MemoryBrokerEventBus()
subscribeHandlers(bus)
bus.startConsumingInBackground()
await bus.whenConsuming()

export const eventStore = new InMemoryEventStore()
export const checkpoints = new InMemoryCheckpointStore()
export const orders = new AggregateRepository({ eventStore, aggregateFactory: Order, aggregateType: 'Order' })
export const order = orders.createNew('Order-1')
order.place(42)
await orders.save(order)
export const id = order.id
export const manager = new SubscriptionManager({ eventStore, checkpoints })
export const sqlite = new SqliteStores({ file: 'examples.db' })
export const other = { events: eventStore }

const stored = new Map<string, true>()
export const keys: HandledKeys = {
  has: async (key) => stored.has(key),
  add: async (key) => void stored.set(key, true),
}
export const sendReceipt = (event: OrderPaid) => event.amount
export const invoice = (customer: unknown) => String(customer)
export const handled = [1, 2, 3]
export const pino = (options: { readonly mixin: () => LogFields }) => options.mixin()

// The stores and the client connect at their first use.
const postgresUrl = 'postgres://localhost/shop'
export const stores = new PostgresStores({ postgresUrl })
export const client = new pg.Client({ connectionString: postgresUrl })
export const totals = stores.projection({
  name: 'inline-totals',
  inline: true,
  handlers: [handlerFor(OrderShipped, () => undefined)],
})
export const eventId = randomUUID()
export const lastYear = new Date('2000-01-01')

/** In place of those of a test runner: the suites are declared, and their tests not run. */
export const describe = (_name: string, body: () => void) => body()
export const it = Object.assign(() => undefined, { skip: () => undefined })

// Code of the reader. The tests that would use it do not run.
const absent: unknown = undefined
export const freshDatabase = absent as () => string
export const MyStores = absent as new (options: {
  readonly database: string
  readonly events?: readonly EventClass[]
}) => PostgresStores & { readonly database: string }
export const MyEventStore = absent as new () => EventStore
export const MyEventBus = absent as new (
  options: { readonly prefix: string } & Omit<CreateBusOptions, 'scope'>,
) => EventBus
export const MyRelay = absent as new (...parts: Parameters<StartRelay>) => RunningRelay

/** Creates what the examples with a database expect in it. */
export async function prepareDatabase(): Promise<void> {
  await stores.ready()
  await client.connect()
  await client.query(
    'create table shipments (order_id text); create table accounts (balance numeric); create table totals (amount numeric)',
  )
}

/** Closes what is open, so that the program ends. */
export async function end(): Promise<void> {
  await manager.stop()
  await bus.shutdown()
  await sqlite.close()
  await stores.close()
  await client.end()
}
