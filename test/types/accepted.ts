// Compiled with several versions of TypeScript by `npm run test:types`, against the built package.
import { defineEvent, type EventOf, firstVersion, InMemoryEventBus } from 'eventspine'
import { z } from 'zod'

const aggregateId = 'Order-1'

// Branded types stay branded, and are usable as what they are.
const OrderId = z.string().brand<'OrderId'>()
class OrderPlaced extends defineEvent({
  type: 'OrderPlaced',
  aggregateType: 'Order',
  schema: z.object({ orderId: OrderId, ids: z.array(OrderId) }),
}) {}
declare const placed: OrderPlaced
export const branded: readonly [string, z.infer<typeof OrderId>, string] = [
  placed.orderId,
  placed.orderId,
  placed.ids.join(','),
]

// A class with private members, a tuple, a date, unknown values.
class Money {
  readonly #cents: bigint
  constructor(cents: bigint) {
    this.#cents = cents
  }
  toJSON(): string {
    return String(this.#cents)
  }
}
class Paid extends defineEvent({
  type: 'Paid',
  aggregateType: 'Order',
  schema: z.object({
    total: z.instanceof(Money),
    pair: z.tuple([z.string(), z.number()]),
    when: z.date(),
    meta: z.unknown(),
  }),
}) {}
declare const paid: Paid
export const values: readonly [Money, readonly [string, number], Date, unknown] = [
  paid.total,
  paid.pair,
  paid.when,
  paid.meta,
]

// A discriminated union is narrowed by its discriminator, in handlers and after construction.
const Method = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('card'), last4: z.string() }),
  z.object({ kind: z.literal('cash'), till: z.number() }),
])
export class Settled extends defineEvent({ type: 'Settled', aggregateType: 'Order', schema: Method }) {}
const SettledEvent = defineEvent({ type: 'SettledEvent', aggregateType: 'Order', schema: Method })
const bus = new InMemoryEventBus()
bus.subscribe(SettledEvent, (event) => void (event.kind === 'card' ? event.last4.length : event.till + 1))
new Settled({ aggregateId, kind: 'card', last4: '1234' })

// A record.
class Counted extends defineEvent({
  type: 'Counted',
  aggregateType: 'Stock',
  schema: z.record(z.string(), z.number()),
}) {}
const counted = new Counted({ aggregateId, apples: 3 })
export const count: readonly [string, number | undefined] = [counted.eventId, counted['apples']]

// Several classes give the handler their union.
bus.subscribe([OrderPlaced, Paid], (event: EventOf<typeof OrderPlaced> | Paid) => void event.eventId)

// Each step of a chain gets what the step before returned.
export const Priced = defineEvent({
  type: 'Priced',
  aggregateType: 'Product',
  schema: z.object({ cents: z.number(), currency: z.string() }),
  upcasts: firstVersion(z.object({ price: z.number() }))
    .to(2, ({ price }) => ({ cents: price * 100 }))
    .to(3, ({ cents }) => ({ cents, currency: 'EUR' })),
})
