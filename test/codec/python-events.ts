import { z } from 'zod'
import { defineEvent, type EventClass } from '../../src/index.ts'

// The event classes behind the captured messages, with payload fields spelt as on the wire. Strict: a field that
// the schema does not expect fails the test.

class OrderCreated extends defineEvent({
  type: 'OrderCreated',
  aggregateType: 'Order',
  schema: z.strictObject({
    order_number: z.string(),
    customer_id: z.guid(),
    total: z.string(),
    item_count: z.int(),
    discount_rate: z.number(),
    placed_at: z.iso.datetime({ offset: true }),
    shipping_address: z.strictObject({
      street: z.string(),
      city: z.string(),
      postcode: z.string().nullable(),
    }),
    lines: z.array(z.strictObject({ sku: z.string(), quantity: z.int(), unit_price: z.string() })),
    tags: z.array(z.string()),
    coupon: z.string().nullable(),
  }),
}) {}

class OrderShipped extends defineEvent({
  type: 'OrderShipped',
  aggregateType: 'Order',
  schema: z.strictObject({ tracking_number: z.string(), carrier: z.string().nullable() }),
}) {}

class OrderCancelled extends defineEvent({
  type: 'OrderCancelled',
  aggregateType: 'Order',
  schema: z.strictObject({ reason: z.string() }),
}) {}

class CustomerRenamed extends defineEvent({
  type: 'customer.renamed',
  aggregateType: 'Customer',
  schemaVersion: 2,
  schema: z.strictObject({ name: z.string() }),
}) {}

export class TypesShown extends defineEvent({
  type: 'TypesShown',
  aggregateType: 'Types',
  schema: z.strictObject({
    flag: z.boolean(),
    big_int: z.bigint(),
    negative: z.int(),
    float_integral: z.number(),
    float_small: z.number(),
    float_large: z.number(),
    decimal_exact: z.string(),
    decimal_exponent: z.string(),
    day: z.iso.date(),
    clock: z.iso.time(),
    duration: z.string(),
    priority: z.enum(['normal', 'rush']),
    raw: z.string(),
    pair: z.tuple([z.int(), z.string()]),
    mapping: z.record(z.string(), z.int()),
    nothing: z.null(),
  }),
}) {}

class Measured extends defineEvent({
  type: 'Measured',
  aggregateType: 'Types',
  schema: z.strictObject({ value: z.number().nullable() }),
}) {}

export const pythonClasses: readonly EventClass[] = [
  OrderCreated,
  OrderShipped,
  OrderCancelled,
  CustomerRenamed,
  TypesShown,
  Measured,
]

export function classForPython(eventType: string): EventClass | undefined {
  return pythonClasses.find((eventClass) => eventClass.eventType === eventType)
}
