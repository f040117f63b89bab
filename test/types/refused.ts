// Compiled with several versions of TypeScript by `npm run test:types`: the line after each comment must have an error
// that matches it, and no other line may have one.
import { defineEvent, firstVersion } from 'eventspine'
import { z } from 'zod'

const aggregateId = 'Order-1'
const schema = z.object({ customerId: z.string(), total: z.number(), note: z.string().optional() })
class OrderCreated extends defineEvent({ type: 'OrderCreated', aggregateType: 'Order', schema }) {}
class Shipped extends defineEvent<{ trackingNumber: string }>()({
  type: 'Shipped',
  aggregateType: 'Order',
}) {}

// refused: Property 'customerId' is missing
new OrderCreated({ aggregateId, total: 1 })
// refused: Type 'number' is not assignable to type 'string'
new OrderCreated({ aggregateId, customerId: 7, total: 1 })
// refused: 'totl' does not exist in type .* Did you mean to write 'total'
new OrderCreated({ aggregateId, customerId: 'c', total: 1, totl: 2 })
// refused: Property 'aggregateId' is missing
new OrderCreated({ customerId: 'c', total: 1 })
// refused: Property 'trackingNumber' is missing
new Shipped({ aggregateId })
// refused: Type 'number' is not assignable to type 'string'
new Shipped({ aggregateId, trackingNumber: 7 })
// refused: 'carrier' does not exist
new Shipped({ aggregateId, trackingNumber: 'x', carrier: 'DHL' })
// refused: 'eventVersion' does not exist
new Shipped({ aggregateId, trackingNumber: 'x', eventVersion: 2 })

const Method = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('card'), last4: z.string() }),
  z.object({ kind: z.literal('cash'), till: z.number() }),
])
class Settled extends defineEvent({ type: 'Settled', aggregateType: 'Order', schema: Method }) {}
// refused: Property 'last4' is missing
new Settled({ aggregateId, kind: 'card' })
// refused: Type '"crd"' is not assignable to type '"card" \| "cash"'
new Settled({ aggregateId, kind: 'crd', last4: '1' })

// A payload field with the name of an envelope field, also in one branch of a union.
const taken = z.object({ metadata: z.string() })
// refused: payload field .*metadata.* is a name that every event already has: rename it
defineEvent({ type: 'Bad', aggregateType: 'Order', schema: taken })
const takenInUnion = z.union([z.object({ a: z.string() }), z.object({ b: z.string(), metadata: z.string() })])
// refused: payload field .*metadata.* is a name that every event already has: rename it
defineEvent({ type: 'Bad', aggregateType: 'Order', schema: takenInUnion })

// A sensitive field that the payload does not have.
const withCard = z.object({ card: z.string() })
// refused: crad.* is not assignable to type
defineEvent({ type: 'Bad', aggregateType: 'Order', schema: withCard, sensitive: ['crad'] })

// A chain with a gap, and one that does not end with the current payload.
// refused: Argument of type '3' is not assignable to parameter of type '2'
export const gap = firstVersion<{ price: number }>().to(3, (v1) => v1)
const wrongEnd = firstVersion<{ price: number }>().to(2, ({ price }) => ({ price }))
const inCents = z.object({ cents: z.number() })
// refused: upcasts|cents|not assignable
defineEvent({ type: 'Priced', aggregateType: 'P', schema: inCents, upcasts: wrongEnd })
