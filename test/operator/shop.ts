import { z } from 'zod'
import { type BrokerEventBus, type BrokerOptions, defineEvent, EventRegistry } from '../../src/index.ts'
import { waitFor } from '../support/wait-for.ts'

const money = z.number().nonnegative()

export class OrderPlaced extends defineEvent({
  type: 'OrderPlaced',
  aggregateType: 'Order',
  schema: z.object({
    customerId: z.string(),
    total: money,
    lines: z.array(z.object({ sku: z.string(), quantity: z.int(), price: money })),
    card: z.object({ holder: z.string(), token: z.string() }),
  }),
  sensitive: ['card.holder'],
}) {}

class InvoiceIssued extends defineEvent({
  type: 'InvoiceIssued',
  aggregateType: 'Invoice',
  schema: z.object({ orderId: z.string(), amount: money }),
}) {}

class ParcelSent extends defineEvent({
  type: 'ParcelSent',
  aggregateType: 'Parcel',
  schema: z.object({ orderId: z.string(), carrier: z.string() }),
}) {}

class ParcelDelivered extends defineEvent({
  type: 'ParcelDelivered',
  aggregateType: 'Parcel',
  schema: z.object({ signedBy: z.string() }),
  sensitive: ['signedBy'],
}) {}

const GOODS = ['tea-pot', 'lamp', 'desk', 'rug', 'chair', 'shelf']

export function orderPlaced(n: number): OrderPlaced {
  const lines = [0, 1].map((line) => ({
    sku: `${GOODS[(n + line) % GOODS.length]}-${10 + ((n * 7 + line) % 90)}`,
    quantity: 1 + (n % 3),
    price: 19.9 + 5 * line,
  }))
  const total = Math.round(lines.reduce((sum, { quantity, price }) => sum + quantity * price, 0) * 100) / 100
  const card = { holder: 'Ada Byron', token: `tok_${77_000 + n}` }
  return new OrderPlaced({
    aggregateId: `Order-${10_000 + n}`,
    customerId: `customer-${n % 40}`,
    total,
    lines,
    card,
  })
}

/** The two buses of the shop. */
export type ShopBus = 'orders' | 'deliveries'

/** Creates a bus of one of the shop's services. */
export type CreateShopBus = (bus: ShopBus, options: BrokerOptions) => BrokerEventBus

const numberOf = (aggregateId: string) => Number(aggregateId.replace(/\D/g, ''))

/**
 * A shop of five services on two buses. billing invoices orders, and cannot do so for each 9th; warehouse sends a parcel, on the other
 * bus, for each invoice; tracking notes its delivery; mails writes to customers, but not for each 31st order.
 */
export async function openShop(create: CreateShopBus) {
  const state = {
    isBroken: true,
    handled: 0,
    /** What mails says of an order that it cannot confirm. */
    errorOf: (_order: OrderPlaced): string => 'connect ECONNREFUSED 10.0.4.17:25',
  }
  const service = (bus: ShopBus, name: string, version: string) =>
    create(bus, {
      ...{ consumerGroup: name, programName: name, programVersion: version },
      ...{ maxRetries: 0, deadLetterStacks: true, presenceIntervalMs: 1000 },
    })
  const web = service('orders', 'web', '5.2.0')
  const billing = service('orders', 'billing', '2.4.1')
  const mails = service('orders', 'mails', '1.9.3')
  const warehouse = service('orders', 'warehouse', '3.0.0')
  const parcels = service('deliveries', 'parcels', '3.0.0')
  const tracking = service('deliveries', 'tracking', '0.8.2')
  billing.subscribe(
    OrderPlaced,
    async ({ aggregateId, total }) => {
      const n = numberOf(aggregateId)
      if (state.isBroken && n % 9 === 4) {
        throw new TypeError(`Cannot read properties of undefined (reading 'vat' of ${aggregateId})`)
      }
      await billing.publish([
        new InvoiceIssued({ aggregateId: `Invoice-${n}`, orderId: aggregateId, amount: total }),
      ])
      state.handled += 1
    },
    { name: 'invoice' },
  )
  billing.subscribe(OrderPlaced, () => undefined, { name: 'revenue' })
  mails.subscribe(
    OrderPlaced,
    (order) => {
      if (state.isBroken && numberOf(order.aggregateId) % 31 === 7) {
        throw Object.assign(new Error(state.errorOf(order)), { name: 'ConnectionError' })
      }
    },
    { name: 'confirmation' },
  )
  mails.subscribe(InvoiceIssued, () => undefined, { name: 'invoice-mail' })
  warehouse.subscribe(
    InvoiceIssued,
    async ({ aggregateId, orderId }) => {
      const n = numberOf(aggregateId)
      await parcels.publish([new ParcelSent({ aggregateId: `Parcel-${n}`, orderId, carrier: 'DHL' })])
    },
    { name: 'pack' },
  )
  tracking.subscribe(
    ParcelSent,
    ({ aggregateId }) => tracking.publish([new ParcelDelivered({ aggregateId, signedBy: 'Ada Byron' })]),
    { name: 'follow' },
  )
  tracking.subscribe(ParcelDelivered, () => undefined, { name: 'archive' })
  const consumers = [billing, mails, warehouse, tracking]
  for (const bus of consumers) bus.startConsumingInBackground()
  await Promise.all(consumers.map((bus) => bus.whenConsuming()))
  const registry = new EventRegistry()
  for (const one of [OrderPlaced, InvoiceIssued, ParcelSent, ParcelDelivered]) registry.register(one)
  const page = { consumerGroup: 'page', registry, presenceIntervalMs: Number.POSITIVE_INFINITY }
  const buses = { orders: create('orders', page), deliveries: create('deliveries', page) }
  const all = [buses.orders, buses.deliveries, web, parcels, ...consumers]
  return {
    ...{ buses, web, billing, mails, warehouse, tracking, state },
    /** Publishes orders, and waits until the groups have handled all that they have caused. */
    order: async (from: number, count: number) => {
      const events = Array.from({ length: count }, (_, n) => orderPlaced(from + n))
      for (let at = 0; at < events.length; at += 500) await web.publish(events.slice(at, at + 500))
      await waitFor(async () => (await open(buses.orders)) === 0 && (await open(buses.deliveries)) === 0, {
        timeoutMs: 30_000,
      })
      return events
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(all.map((bus) => bus.shutdown({ timeoutMs: 2000 })))
    },
  }
}

/** The events that the groups of a bus, apart from paused ones, have not handled. */
async function open({ admin }: BrokerEventBus): Promise<number> {
  const groups = (await admin.groups()).filter(({ paused, members }) => paused === undefined && members !== 0)
  return groups.reduce((sum, { lag, inFlight }) => sum + (lag ?? 0) + (inFlight ?? 0), 0)
}
